public import Tensors

/// Keys that are padding are seen by no query.
///
/// A sequence of l real keys costs `tokens · l` pairs, and no more than these keys travel where the
/// others fill a piece of a shard in all sequences.
public struct PaddingPattern: AttentionPattern {
  /// For each sequence, 1 for each real key and 0 for each that is padding.
  private let keys: [LabelRuns]

  /// Takes, for each sequence, whether each key is real.
  public init(isReal: [[Bool]]) {
    keys = isReal.map { LabelRuns($0.lazy.map { $0 ? 1 : 0 }) }
  }

  /// Takes 1 for real keys and 0 for others.
  init(_ numbers: [ArraySlice<Int32>]) { keys = numbers.map { LabelRuns($0) } }

  /// Whether there are several sequences.
  public var dependsOnBatch: Bool { keys.count > 1 }

  /// The stretches of real keys and of others.
  public var byteCount: Int { keys.reduce(0) { $0 + $1.byteCount } }

  /// What all sequences have in common.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    self.keys.indices.commonCoverage {
      coverage(keys: keys, queries: queries, batch: $0, head: 0)
    }
  }

  /// `all` where all keys between the first and the last are real, `none` where none is.
  public func coverage(
    keys: PositionRange, queries: PositionRange, batch: Int, head: Int
  ) -> Coverage {
    if keys.isEmpty || queries.isEmpty { return .none }
    let bounds = self.keys[batch].bounds(of: keys)
    if bounds.count > 1 { return .some }
    return bounds.lowerBound == 1 ? .all : .none
  }

  /// Those that are real, where padding is on one side of them.
  public func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? { self.keys[batch].neighbours(in: keys, labelled: 1) }

  /// Writes 0 in the columns of real keys and −∞ in others.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    let (columns, rows) = (keys.count, queries.count)
    self.keys[batch].forEach(in: keys) { column, label in
      for row in 0..<rows { bias[row * columns + column] = label == 1 ? 0 : -.infinity }
    }
  }
}

/// `--padding`: no query sees a key that `key_padding_mask` calls padding.
public struct PaddingMask: Mask {
  /// Its option and field.
  public static let name = "padding"
  /// The tensor.
  private static let tensor = "key_padding_mask"

  /// Creates the mask.
  public init() {}

  /// It has no value but that it is there.
  public var description: String { "true" }
  /// Its name.
  public var words: String { Self.name }

  /// 1 for real keys.
  public var tensors: [MaskTensor] {
    [MaskTensor(Self.tensor, [.u8, .bool], "[batch, keyTokens]")]
  }

  /// Refuses another shape, and numbers that are neither 0 nor 1.
  public func check(_ inputs: MaskInputs) throws {
    let table = inputs[Self.tensor]
    guard table.shape == [inputs.batch, inputs.keyTokens] else {
      throw MaskError(
        "\(Self.tensor) is \(table.shape); give [batch, keyTokens], here "
          + "\([inputs.batch, inputs.keyTokens]).")
    }
    guard let index = table.numbers.firstIndex(where: { $0 != 0 && $0 != 1 }) else { return }
    let (batch, key) = index.quotientAndRemainder(dividingBy: inputs.keyTokens)
    throw MaskError(
      "\(Self.tensor)[\(batch), \(key)] is \(table.numbers[index]); give 1 for a real key and 0 "
        + "for padding.")
  }

  /// A random number of real keys, at least one, and padding after them.
  public func drawn(
    for inputs: MaskInputs, from random: inout MaskRandom
  ) -> [String: MaskTable] {
    var numbers: [Int32] = []
    for _ in 0..<inputs.batch {
      let real = inputs.keyTokens == 0 ? 0 : Int.random(in: 1...inputs.keyTokens, using: &random)
      numbers += repeatElement(1, count: real)
      numbers += repeatElement(0, count: inputs.keyTokens - real)
    }
    let shape = [inputs.batch, inputs.keyTokens]
    return [Self.tensor: MaskTable(shape: shape, numbers: numbers)]
  }

  /// Of the numbers of the input.
  public func pattern(_ inputs: MaskInputs) -> any AttentionPattern {
    PaddingPattern((0..<inputs.batch).map(inputs[Self.tensor].row))
  }

  /// The key's number is 1.
  public func allows(query: Int, key: Int, batch: Int, head: Int, _ inputs: MaskInputs) -> Bool {
    inputs[Self.tensor].numbers[batch * inputs.keyTokens + key] == 1
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
