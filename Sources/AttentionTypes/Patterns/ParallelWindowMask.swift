/// `--parallel-windows` and `--structured`: context windows that do not see each other, and a task
/// that sees all of them and itself.
///
/// With windows of lengths w and t tokens of a task it costs `Σ w² + t (Σ w + t)` pairs. A window
/// that lies within one shard is sent to the ranks of the task alone.
///
/// Source: Ratner et al. 2023, Parallel Context Windows for Large Language Models, section 2.
public struct ParallelWindowMask: Mask {
  /// Tokens of the task have this number.
  static let task: Int32 = -1

  /// Its option and field.
  public static let name = "parallel-windows"

  /// Where the positions of a window begin and end, for what depends on positions.
  public enum Alignment: String, Hashable, Sendable, CaseIterable {
    /// All windows begin at 0.
    case left
    /// All windows end where the longest does.
    case right
  }

  /// Where windows are put.
  public let alignment: Alignment
  /// Whether the task's own keys weigh as much as a key in each of the windows.
  ///
  /// Source: Hao et al. 2022, Structured Prompting, section 3.2: rescaled attention.
  public let isStructured: Bool

  /// Creates the mask of parallel windows.
  public init(_ alignment: Alignment = .left) {
    self.alignment = alignment
    isStructured = false
  }

  private init(isStructured: Bool, _ alignment: Alignment) {
    self.alignment = alignment
    self.isStructured = isStructured
  }

  /// Windows that end together, and a task whose own keys are weighted.
  public static let structured = ParallelWindowMask(isStructured: true, .right)

  /// The alignment, or `structured`.
  public var description: String { isStructured ? "structured" : alignment.rawValue }
  /// For example `parallel windows`.
  public var words: String { isStructured ? "structured prompting" : "parallel windows" }

  /// A window for each token, −1 for the task.
  public var tensors: [MaskTensor] { SegmentMask().tensors }

  /// Refuses tables of another shape, and negative numbers but −1.
  public func check(_ inputs: MaskInputs) throws {
    try checkSegmentIDs(inputs)
    for name in ["segment_ids", "key_segment_ids"] {
      guard let table = inputs.tables[name],
        let place = table.numbers.firstIndex(where: { $0 < -1 })
      else { continue }
      let (batch, token) = place.quotientAndRemainder(dividingBy: max(1, table.shape[1]))
      throw MaskError(
        "\(name)[\(batch), \(token)] is \(table.numbers[place]); number context windows from 0 on, "
          + "and give -1 to tokens of the task.")
    }
  }

  /// Eight windows of random lengths, and a task after them.
  public func drawn(
    for inputs: MaskInputs, from random: inout MaskRandom
  ) -> [String: MaskTable] {
    drawnSegmentIDs(for: inputs, from: &random, pieces: 9) { piece, count in
      piece + 1 == count ? Self.task : Int32(piece)
    }
  }

  /// Of the numbers of the input.
  public func pattern(_ inputs: MaskInputs) -> any AttentionPattern {
    let windows = inputs.segmentIDs
    return SegmentPattern(queries: windows.queries, keys: windows.keys, seeingAll: Self.task)
  }

  /// Where the tokens of windows stand, for what depends on positions.
  ///
  /// A window begins at 0, or ends where the longest does; the task goes on from there. A query
  /// stands where its key does.
  ///
  /// - Returns: for each sequence, the positions of queries and of keys.
  public func positions(_ inputs: MaskInputs) -> (queries: [[Int]], keys: [[Int]]) {
    let segments = inputs.segmentIDs
    let keys = (segments.keys ?? segments.queries).map { windows -> [Int] in
      var lengths: [Int32: Int] = [:]
      for window in windows { lengths[window, default: 0] += 1 }
      let taskLength = lengths.removeValue(forKey: Self.task)
      let longest = lengths.values.max() ?? 0
      var next = alignment == .left ? [:] : lengths.mapValues { longest - $0 }
      if taskLength != nil { next[Self.task] = longest }
      return windows.map { window in
        defer { next[window, default: 0] += 1 }
        return next[window, default: 0]
      }
    }
    let queries = keys.map { keys in
      (0..<inputs.tokens).map { keys.isEmpty ? 0 : keys[max(0, $0 + inputs.offset)] }
    }
    return (queries, keys)
  }

  /// The logarithm of the number of windows is added to scores of the task's own keys, if that is
  /// asked for.
  public func scoreRule(_ inputs: MaskInputs) -> (any ScoreRule)? {
    guard isStructured else { return nil }
    let windows = inputs.segmentIDs
    return OwnKeyWeight(windows: windows.keys ?? windows.queries)
  }

  /// The query is of the task, or both are of one window.
  public func allows(query: Int, key: Int, batch: Int, head: Int, _ inputs: MaskInputs) -> Bool {
    let keys = inputs.tables["key_segment_ids"] ?? inputs["segment_ids"]
    let window = inputs["segment_ids"].numbers[batch * inputs.tokens + query]
    return window == -1 || window == keys.numbers[batch * inputs.keyTokens + key]
  }

  /// The description.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }

  /// Takes what ``encode(to:)`` writes.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let word = try container.decode(String.self)
    if word == Self.structured.description {
      self = .structured
    } else if let alignment = Alignment(rawValue: word) {
      self.init(alignment)
    } else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "parallel windows are left, right or structured")
    }
  }
}
