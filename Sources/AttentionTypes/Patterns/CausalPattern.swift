public import Tensors

/// Query `i` sees key `j` where `j ≤ i + offset`.
///
/// With `offset = keyTokens − tokens` the mask is aligned at the bottom right, as flash-attention
/// defines it: the last query sees every key. Where queries outnumber keys the first
/// `tokens − keyTokens` rows see nothing.
public struct CausalPattern: AttentionPattern {
  /// How far past its own position a query sees.
  public let offset: Int

  /// Creates a causal mask whose diagonal is moved right by `offset` keys.
  public init(offset: Int = 0) {
    self.offset = offset
  }

  /// Compares the ends of the two ranges; exact for `none` and `all` at any stride.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    guard let firstKey = keys.first, let lastKey = keys.last,
      let firstQuery = queries.first, let lastQuery = queries.last
    else { return .none }
    if firstKey > lastQuery + offset { return .none }
    if lastKey <= firstQuery + offset { return .all }
    return .some
  }

  /// Those up to the diagonal.
  public func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? {
    keys.indices(in: min(keys.start, query + offset + 1)..<query + offset + 1)
  }

  /// Writes 0 up to the diagonal and −∞ past it.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    var element = 0
    for query in queries {
      for key in keys {
        bias[element] = key <= query + offset ? 0 : -.infinity
        element += 1
      }
    }
  }
}

/// `--causal`: a query sees no key after itself.
public struct CausalMask: Mask {
  /// Its option and field.
  public static let name = "causal"
  /// The field says `false` without it.
  public static let absence: Bool? = false

  /// Creates the mask.
  public init() {}

  /// It has no value but that it is there.
  public var description: String { "true" }
  /// Its name.
  public var words: String { Self.name }

  /// Aligned at the bottom right.
  public func pattern(_ inputs: MaskInputs) -> any AttentionPattern {
    CausalPattern(offset: inputs.offset)
  }

  /// `key ≤ query + keyTokens − tokens`.
  public func allows(query: Int, key: Int, batch: Int, head: Int, _ inputs: MaskInputs) -> Bool {
    key <= query + inputs.offset
  }

  /// A triangle with its diagonal.
  public func pairs(tokens: Double, isCausal: Bool) -> Double? { tokens * (tokens + 1) / 2 }

  /// `true`.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(true)
  }

  /// Takes `true` alone.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard try container.decode(Bool.self) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "the mask is there, or its field says that it is not")
    }
  }
}
