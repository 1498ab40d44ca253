import AttentionTypes
import Compute
import Tensors

/// Sums of a few vectors, each of all tokens of a leaf, that are the same bits in whatever order
/// they are added, and whoever has added what: gradients of what all tokens share.
package struct VectorSums: ~Copyable {
  /// Numbers of a vector.
  package let count: Int
  private let memory: AlignedBuffer<Int64>

  /// Sums of no vector.
  package init(count: Int) {
    self.count = count
    memory = AlignedBuffer(zeros: Self.wordCount(count))
  }

  /// What ``words`` of others were.
  package init(count: Int, words: [Int64]) {
    precondition(words.count == Self.wordCount(count), "the words of other sums")
    self.count = count
    memory = AlignedBuffer(copying: words.span)
  }

  private static func padded(_ count: Int) -> Int {
    (count + Vector.width - 1) / Vector.width * Vector.width
  }

  private static func wordCount(_ count: Int) -> Int {
    ReproducibleRows.wordCount(rows: 1, columns: padded(count))
  }

  private var rows: ReproducibleRows {
    unsafe ReproducibleRows(memory.unsafeBaseAddress, rows: 1, columns: Self.padded(count))
  }

  /// The sums, to be told to others.
  package var words: [Int64] { (0..<Self.wordCount(count)).map { memory.span[$0] } }

  /// Adds a vector.
  package func add(_ terms: [Float]) {
    precondition(terms.count == count, "\(terms.count) numbers, not \(count)")
    let width = Self.padded(count)
    let padded = terms + [Float](repeating: 0, count: width - count)
    let buffer = AlignedBuffer<Float>(copying: padded.span)
    unsafe rows.add(
      buffer.unsafeBaseAddress, panelWidth: width, panelStride: width, exponent: 0, to: 0)
  }

  /// Adds what others have added.
  package func add(_ other: borrowing VectorSums) {
    unsafe rows.add(row: 0, of: other.rows, to: 0)
  }

  /// The sums.
  package var values: [Float] {
    let result = AlignedBuffer<Float>(zeros: Self.padded(count))
    unsafe rows.write(row: 0, times: 1, to: result.unsafeBaseAddress)
    return (0..<count).map { result.span[$0] }
  }
}
