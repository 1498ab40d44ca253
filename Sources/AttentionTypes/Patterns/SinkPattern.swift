public import Tensors

/// Every query sees the first `count` keys.
///
/// Without them a window forgets the first tokens, on which trained models put what weight they
/// have no use for. They cost `count` pairs a query, and a rank receives `count` keys.
///
/// Source: Xiao et al. 2023, StreamingLLM, section 3.2.
public struct SinkPattern: AttentionPattern {
  /// Keys that all see.
  public let count: Int

  /// Creates the pattern.
  public init(count: Int) {
    self.count = count
  }

  /// Compares the ends of the keys.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    guard let first = keys.first, let last = keys.last, !queries.isEmpty, first < count
    else { return .none }
    return last < count ? .all : .some
  }

  /// The sinks among them.
  public func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? { keys.indices(in: 0..<max(0, count)) }

  /// Writes 0 for sinks and −∞ for other keys.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    var element = 0
    for _ in queries {
      for key in keys {
        bias[element] = key < count ? 0 : -.infinity
        element += 1
      }
    }
  }
}

/// `--sinks`: the first keys are seen whatever a window hides.
public struct SinkMask: Mask {
  /// Its option and field.
  public static let name = "sinks"
  /// The window; a causal mask still holds.
  public static let exempted: (any Mask.Type)? = WindowMask.self

  /// Keys that all see.
  public let count: Int

  /// Creates the mask.
  public init(count: Int) {
    self.count = count
  }

  /// The number of keys.
  public var description: String { "\(count)" }
  /// For example `4 sinks`.
  public var words: String { "\(count) \(count == 1 ? "sink" : "sinks")" }

  /// What a window does not hide.
  public func pattern(_ inputs: MaskInputs) -> any AttentionPattern {
    SinkPattern(count: count)
  }

  /// `key < count`.
  public func allows(query: Int, key: Int, batch: Int, head: Int, _ inputs: MaskInputs) -> Bool {
    key < count
  }

  /// The number of keys.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(count)
  }

  /// Takes a number that is not negative.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    count = try container.decode(Int.self)
    guard count >= 0 else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "there cannot be fewer than no sinks")
    }
  }
}
