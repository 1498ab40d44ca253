public import Tensors

/// A query sees the keys that have the same label: documents that are packed into one sequence do
/// not see each other.
///
/// Queries of one label may see all keys.
///
/// With documents of lengths l it costs `Σ l²` pairs; a document that lies within one shard is sent
/// nowhere.
///
/// Source: Krell et al. 2021, Efficient sequence packing without cross-contamination, section 3.2.
public struct SegmentPattern: AttentionPattern {
  /// For each sequence, the labels of its queries.
  private let queries: [LabelRuns]
  /// For each sequence, the labels of its keys.
  private let keys: [LabelRuns]
  /// Queries that have this label, the least of all, see every key; nil if none do.
  private let seesAll: Int32?

  /// Takes labels, of which only those that are the same count.
  ///
  /// - Parameters:
  ///   - queries: for each sequence, a label for each query.
  ///   - keys: for each sequence, a label for each key; nil is those of the queries.
  public init(queries: [[Int32]], keys: [[Int32]]? = nil) {
    self.init(queries: queries.map { $0[...] }, keys: keys.map { $0.map { $0[...] } })
  }

  /// Numbers labels anew, in the order in which keys first have them: of documents one after the
  /// other they ascend then, whatever they were.
  ///
  /// - Parameter label: queries that have it see every key; negative.
  init(
    queries: [ArraySlice<Int32>], keys: [ArraySlice<Int32>]?, seeingAll label: Int32? = nil
  ) {
    seesAll = label
    (self.queries, self.keys) = LabelRuns.numbered(queries: queries, keys: keys, keeping: label)
  }

  /// Whether there are several sequences.
  public var dependsOnBatch: Bool { keys.count > 1 }

  /// The stretches of the same labels.
  public var byteCount: Int { (queries + keys).reduce(0) { $0 + $1.byteCount } }

  /// What all sequences have in common.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    self.keys.indices.commonCoverage {
      coverage(keys: keys, queries: queries, batch: $0, head: 0)
    }
  }

  /// Compares the smallest and the largest label of either; sharp for documents one after the
  /// other.
  public func coverage(
    keys: PositionRange, queries: PositionRange, batch: Int, head: Int
  ) -> Coverage {
    if keys.isEmpty || queries.isEmpty { return .none }
    let ofQueries = self.queries[batch].bounds(of: queries)
    if ofQueries.upperBound == seesAll { return .all }
    if ofQueries.lowerBound == seesAll { return .some }
    let ofKeys = self.keys[batch].bounds(of: keys)
    if !ofQueries.overlaps(ofKeys) { return .none }
    return ofQueries == ofKeys && ofKeys.count == 1 ? .all : .some
  }

  /// Those of its document, where that is in one piece, or all.
  public func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? {
    visible(keys, labelled: queries[batch][query], batch)
  }

  private func visible(
    _ keys: PositionRange, labelled label: Int32, _ batch: Int
  ) -> Range<Int>? {
    label == seesAll ? 0..<keys.count : self.keys[batch].neighbours(in: keys, labelled: label)
  }

  /// Asks once for neighbours of the same document.
  public func narrow(
    _ seen: inout MutableSpan<Range<Int>>, to keys: PositionRange, of queries: PositionRange,
    batch: Int, head: Int
  ) -> Bool {
    var last: (label: Int32, keys: Range<Int>)?
    var knows = true
    self.queries[batch].forEach(in: queries) { row, label in
      if last?.label != label {
        last = visible(keys, labelled: label, batch).map { (label, $0) }
        if last == nil { knows = false }
      }
      if let last { seen[row] = seen[row].clamped(to: last.keys) }
    }
    return knows
  }

  /// Writes 0 where labels are the same, or the query sees all, and −∞ elsewhere.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    let (ofKeys, columns) = (self.keys[batch], keys.count)
    self.queries[batch].forEach(in: queries) { row, label in
      let seesAll = label == seesAll
      ofKeys.forEach(in: keys) { column, other in
        bias[row * columns + column] = seesAll || label == other ? 0 : -.infinity
      }
    }
  }
}

extension Collection {
  /// What is true of rectangles of all sequences, or all heads: of none of them if they differ.
  func commonCoverage(_ coverage: (Element) -> Coverage) -> Coverage {
    guard let first else { return .none }
    let common = coverage(first)
    if common == .some { return .some }
    return dropFirst().allSatisfy { coverage($0) == common } ? common : .some
  }
}

/// `--segments` and `--cu-seqlens`: a query sees the keys of its own document.
public struct SegmentMask: Mask {
  /// Its option and field.
  public static let name = "segments"

  /// How the input says which tokens are of one document.
  public enum Form: String, Hashable, Sendable, CaseIterable {
    /// `segment_ids`, a number for each token; the same number is the same document.
    case ids = "segment_ids"
    /// `cu_seqlens`, where documents begin, and where the last one ends.
    case starts = "cu_seqlens"
  }

  /// How the input says it.
  public let form: Form

  /// Creates the mask.
  public init(_ form: Form = .ids) { self.form = form }

  /// The tensor that the input has.
  public var description: String { form.rawValue }
  /// In a word.
  public var words: String { form == .ids ? "segments" : "cu_seqlens" }

  /// Numbers for queries, and others for keys where there are more or fewer of them.
  public var tensors: [MaskTensor] {
    switch form {
    case .ids:
      [
        MaskTensor("segment_ids", [.i32, .i64], "[batch, tokens]"),
        MaskTensor("key_segment_ids", [.i32, .i64], "[batch, keyTokens]", isOptional: true),
      ]
    case .starts: [MaskTensor("cu_seqlens", [.i32, .i64], "[documents + 1]")]
    }
  }

  /// Refuses tables of another shape, and documents that do not follow each other from 0 to the
  /// last token.
  public func check(_ inputs: MaskInputs) throws {
    switch form {
    case .ids: try checkSegmentIDs(inputs)
    case .starts:
      guard inputs.tokens == inputs.keyTokens else {
        throw MaskError(
          "cu_seqlens divides one sequence of tokens, and there are \(inputs.tokens) queries and "
            + "\(inputs.keyTokens) keys; give segment_ids and key_segment_ids, with --segments.")
      }
      let table = inputs["cu_seqlens"]
      guard table.shape.count == 1, let first = table.numbers.first, let last = table.numbers.last
      else {
        throw MaskError(
          "cu_seqlens is \(table.shape); give [documents + 1], where each begins and the last one "
            + "ends.")
      }
      guard first == 0 else {
        throw MaskError("cu_seqlens begins with \(first); begin with 0, the first token.")
      }
      let numbers = table.numbers
      if let index = numbers.indices.dropFirst().first(where: { numbers[$0] < numbers[$0 - 1] }) {
        throw MaskError(
          "cu_seqlens[\(index)] is \(numbers[index]), less than \(numbers[index - 1]) before it; "
            + "give sums of lengths, which do not descend.")
      }
      guard Int(last) == inputs.tokens else {
        throw MaskError(
          "cu_seqlens ends with \(last), and there are \(inputs.tokens) tokens; end with their "
            + "number.")
      }
    }
  }

  /// Sixteen documents of random lengths in each sequence, or a document a token if there are
  /// fewer; with `cu_seqlens` the same in all.
  public func drawn(
    for inputs: MaskInputs, from random: inout MaskRandom
  ) -> [String: MaskTable] {
    if form == .starts {
      let starts = random.starts(of: inputs.tokens, pieces: Self.drawnDocuments)
      let numbers = starts.map { Int32($0) } + [Int32(inputs.tokens)]
      return ["cu_seqlens": MaskTable(shape: [numbers.count], numbers: numbers)]
    }
    return drawnSegmentIDs(for: inputs, from: &random, pieces: Self.drawnDocuments) { piece, _ in
      Int32(piece)
    }
  }

  /// Documents that are drawn in a sequence.
  private static let drawnDocuments = 16

  /// Of the labels of the input, or of the numbers of the documents.
  public func pattern(_ inputs: MaskInputs) -> any AttentionPattern {
    if form == .starts {
      let starts = inputs["cu_seqlens"].numbers
      var labels: [Int32] = []
      labels.reserveCapacity(inputs.tokens)
      for (document, (start, end)) in zip(starts, starts.dropFirst()).enumerated() {
        labels += repeatElement(Int32(document), count: Int(end - start))
      }
      let runs = [[Int32]](repeating: labels, count: inputs.batch)
      return SegmentPattern(queries: runs)
    }
    let labels = inputs.segmentIDs
    return SegmentPattern(queries: labels.queries, keys: labels.keys)
  }

  /// The same number; or as many documents that begin up to either.
  public func allows(query: Int, key: Int, batch: Int, head: Int, _ inputs: MaskInputs) -> Bool {
    switch form {
    case .ids:
      let keys = inputs.tables["key_segment_ids"] ?? inputs["segment_ids"]
      return inputs["segment_ids"].numbers[batch * inputs.tokens + query]
        == keys.numbers[batch * inputs.keyTokens + key]
    case .starts:
      let starts = inputs["cu_seqlens"].numbers
      func begun(upTo token: Int) -> Int {
        var (low, high) = (0, starts.count)
        while low < high {
          let middle = (low + high) / 2
          if Int(starts[middle]) <= token { low = middle + 1 } else { high = middle }
        }
        return low
      }
      return begun(upTo: query) == begun(upTo: key)
    }
  }

  /// The tensor's name.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(form.rawValue)
  }

  /// Takes what ``encode(to:)`` writes.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let form = Form(rawValue: try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "segments are told by segment_ids or cu_seqlens")
    }
    self.form = form
  }
}
