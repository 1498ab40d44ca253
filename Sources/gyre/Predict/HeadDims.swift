import Attention
import Reporting
import Results

/// The head dims of keys and values, on which the speed of the kernel depends.
struct HeadDims: Hashable, CustomStringConvertible {
  let keys: Int
  let values: Int

  init(_ shape: AttentionShape) {
    keys = shape.headDim
    values = shape.valueHeadDim
  }

  /// Those of a row of a results file; nil where it names none.
  init?(_ row: ResultRow) {
    guard let keys = row.fields["headDim"]?.int else { return nil }
    self.keys = keys
    // Files of earlier versions had one for both.
    values = row.fields["valueHeadDim"]?.int ?? keys
  }

  /// How far others are from these.
  func distance(to other: HeadDims) -> Double {
    abs(Double(keys) - Double(other.keys)) + abs(Double(values) - Double(other.values))
  }

  /// One number where both are the same, as people say it.
  var description: String { keys == values ? "\(keys)" : "\(keys)/\(values)" }
}
