public import Tensors

/// Every query sees the keys that have a label.
///
/// For keys that are attended to apart from others and are no neighbours.
public struct KeyLabelPattern: AttentionPattern {
  /// For each sequence, the labels of its keys.
  private let labels: [LabelRuns]
  private let label: Int32

  /// Takes, for each sequence, a label for each key, and which of them are seen.
  public init(_ labels: [[Int32]], seeing label: Int32) {
    self.init(labels.map { LabelRuns($0) }, label)
  }

  private init(_ labels: [LabelRuns], _ label: Int32) {
    self.labels = labels
    self.label = label
  }

  /// The same labels, of which another is seen.
  public func seeing(_ label: Int32) -> KeyLabelPattern { KeyLabelPattern(labels, label) }

  /// Whether there are several sequences.
  public var dependsOnBatch: Bool { labels.count > 1 }

  /// The stretches of labels.
  public var byteCount: Int { labels.reduce(0) { $0 + $1.byteCount } }

  /// What all sequences have in common.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    labels.indices.commonCoverage { coverage(keys: keys, queries: queries, batch: $0, head: 0) }
  }

  /// Looks at the labels between the ends of the keys.
  public func coverage(
    keys: PositionRange, queries: PositionRange, batch: Int, head: Int
  ) -> Coverage {
    if keys.isEmpty || queries.isEmpty { return .none }
    let bounds = labels[batch].bounds(of: keys)
    if !bounds.contains(label) { return .none }
    return bounds.count == 1 ? .all : .some
  }

  /// Those with the label, where they are in one piece.
  public func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? {
    labels[batch].neighbours(in: keys, labelled: label)
  }

  /// Writes 0 for keys that are seen and −∞ for others.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    let columns = keys.count
    for row in 0..<queries.count {
      labels[batch].forEach(in: keys) { column, own in
        bias[row * columns + column] = own == label ? 0 : -.infinity
      }
    }
  }
}
