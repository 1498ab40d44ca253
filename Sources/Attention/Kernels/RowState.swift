import Glibc
import Tensors

/// The state of rows: for each the largest score so far, rounded up to an integer, the sum of
/// `2^(score − rowMax)`, and the same sum weighted by the values.
@unsafe
struct RowState {
  let rowMax: UnsafeMutablePointer<Float>
  let rowSum: UnsafeMutablePointer<Float>
  /// Row `r` lies at `r · outputStride`.
  let output: UnsafeMutablePointer<Float>
  let outputStride: Int
}

/// The state of rows with what rounding has taken from its sums.
@unsafe
struct CompensatedRowState {
  let rowMax: UnsafeMutablePointer<Float>
  let rowSums: CompensatedSums
  /// Row `r` lies at `r · outputStride`.
  let outputs: CompensatedSums
  let outputStride: Int

  init(_ rows: RowState, _ remainders: borrowing RowRemainders) {
    unsafe rowMax = rows.rowMax
    unsafe rowSums = CompensatedSums(sums: rows.rowSum, remainders: remainders.rowSums)
    unsafe outputs = CompensatedSums(sums: rows.output, remainders: remainders.outputs)
    unsafe outputStride = rows.outputStride
  }

  private init(
    rowMax: UnsafeMutablePointer<Float>, rowSums: CompensatedSums, outputs: CompensatedSums,
    outputStride: Int
  ) {
    unsafe self.rowMax = rowMax
    unsafe self.rowSums = rowSums
    unsafe self.outputs = outputs
    unsafe self.outputStride = outputStride
  }

  /// The rows from one on.
  func from(row: Int, output first: Int, shape: AttentionShape) -> CompensatedRowState {
    unsafe CompensatedRowState(
      rowMax: rowMax + row, rowSums: rowSums.from(row),
      outputs: outputs.from(first * shape.valueHeadDim), outputStride: outputStride)
  }

  /// Takes in the largest score and the row sum of a row over other keys, at least one.
  ///
  /// - Returns: what its outputs so far, and those over the other keys, are to be multiplied by:
  ///   powers of two, since maxima are integers, or 0 if the row had seen nothing.
  @inline(__always)
  func add(max otherMax: Float, sum: Float, to row: Int) -> (kept: Float, added: Float) {
    let newMax = unsafe max(rowMax[row], otherMax)
    let kept = unsafe exp2(rowMax[row] - newMax)
    let added = exp2(otherMax - newMax)
    unsafe rowMax[row] = newMax
    unsafe (rowSums.sums[row], rowSums.remainders[row]) = adding(
      sum * added, to: rowSums.sums[row] * kept, remainder: rowSums.remainders[row] * kept)
    return (kept, added)
  }
}

/// What rounding has taken from the sums of rows.
///
/// It stays where they are added to and does not travel.
struct RowRemainders: ~Copyable {
  private let rows: Int
  private let columns: Int
  /// Those of outputs, then those of row sums; nothing before they are needed.
  private var storage = AlignedBuffer<Float>(zeros: 0)

  /// Those of `rows` rows of `columns` outputs.
  init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
  }

  /// Makes room, with zeros, unless there is some.
  mutating func reserve() {
    if storage.count == 0 { storage = AlignedBuffer(zeros: rows * (columns + 1)) }
  }

  @unsafe var outputs: UnsafeMutablePointer<Float> { unsafe storage.unsafeBaseAddress }

  @unsafe var rowSums: UnsafeMutablePointer<Float> {
    unsafe storage.unsafeBaseAddress + rows * columns
  }

  /// What rounding has taken from the sum of a row.
  func ofRowSum(_ row: Int) -> Float { storage.count == 0 ? 0 : storage.span[rows * columns + row] }
}
