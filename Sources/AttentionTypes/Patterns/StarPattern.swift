public import Tensors

/// A hub, token 0, sees all and is seen by all; the others stand in a ring and see themselves and
/// their neighbours.
///
/// The ring has the tokens 1 to `count − 1`, and its last token is the neighbour of its first. It
/// costs about `5 · count` pairs. The keys of the hub and of a shard's ends go to others, and all
/// keys to the rank of the hub, or its query to all.
///
/// Source: Guo et al. 2019, Star-Transformer, section 3: satellite and relay nodes.
public struct StarPattern: AttentionPattern {
  /// Tokens, the hub included.
  public let count: Int

  /// Creates the pattern of so many tokens.
  public init(count: Int) { self.count = count }

  /// The hub.
  public var singularQueries: [Range<Int>] { [0..<1] }

  /// `all` for the hub alone, `none` where positions are more than a step apart, the way round the
  /// ring included.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    guard let firstKey = keys.first, let lastKey = keys.last,
      let firstQuery = queries.first, let lastQuery = queries.last
    else { return .none }
    if lastKey == 0 || lastQuery == 0 { return .all }
    if firstKey == 0 || firstQuery == 0 { return .some }
    if firstKey <= lastQuery + 1 && firstQuery <= lastKey + 1 { return .some }
    let (first, last) = (min(firstKey, firstQuery), max(lastKey, lastQuery))
    return first == 1 && last == count - 1 ? .some : .none
  }

  /// Writes 0 in the row and the column of the hub and next to the diagonal, −∞ elsewhere.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    var element = 0
    for query in queries {
      for key in keys {
        let distance = abs(query - key)
        let isSeen = min(query, key) == 0 || distance <= 1 || distance == count - 2
        bias[element] = isSeen ? 0 : -.infinity
        element += 1
      }
    }
  }
}

/// `--star`: Star-Transformer's hub and ring.
public struct StarMask: Mask {
  /// Its option and field.
  public static let name = "star"

  /// Creates the mask.
  public init() {}

  /// It has no value but that it is there.
  public var description: String { "true" }
  /// Its name.
  public var words: String { Self.name }

  /// Refuses queries that are not the tokens of the keys.
  public func check(_ inputs: MaskInputs) throws {
    guard inputs.tokens == inputs.keyTokens else {
      throw MaskError(
        "--star is of a sequence to itself, and there are \(inputs.tokens) queries and "
          + "\(inputs.keyTokens) keys; give as many of both.")
    }
  }

  /// Of all tokens.
  public func pattern(_ inputs: MaskInputs) -> any AttentionPattern {
    StarPattern(count: inputs.tokens)
  }

  /// One of them is token 0; or, of the others, the places in their ring are at most one apart.
  public func allows(query: Int, key: Int, batch: Int, head: Int, _ inputs: MaskInputs) -> Bool {
    if query == 0 || key == 0 { return true }
    let ring = inputs.tokens - 1
    let (place, other) = (query - 1, key - 1)
    return other == place || other == (place + 1) % ring || place == (other + 1) % ring
  }

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
        in: container, debugDescription: "the mask is there, or its field is null")
    }
  }
}
