import Glibc
import Tensors

/// The state of the rows of a ``ForwardAccumulator`` in `Float`.
struct FastForwardSums: ~Copyable {
  private let shape: AttentionShape
  /// `[batch, tokens, queryHeads, valueHeadDim]`, not yet divided by the row sums.
  private var output: Tensor<Float>
  /// `[batch, queryHeads, tokens]`, in base 2; becomes the log-sum-exp at the end.
  private var rowMax: Tensor<Float>
  /// `[batch, queryHeads, tokens]`; becomes what rounding took from the log-sum-exp.
  private var rowSum: Tensor<Float>

  init(shape: AttentionShape, tokens: Int) {
    self.shape = shape
    let rows: Shape = [shape.batch, shape.queryHeads, tokens]
    output = Tensor(zeros: [shape.batch, tokens, shape.queryHeads, shape.valueHeadDim])
    rowMax = Tensor(repeating: -.infinity, shape: rows)
    rowSum = Tensor(zeros: rows)
  }

  /// Copies the state of rows that lie elsewhere.
  @unsafe
  init(shape: AttentionShape, tokens: Int, copying rows: RowState) {
    self.init(shape: shape, tokens: tokens)
    unsafe output.unsafeBaseAddress.update(from: rows.output, count: output.count)
    unsafe rowMax.unsafeBaseAddress.update(from: rows.rowMax, count: rowMax.count)
    unsafe rowSum.unsafeBaseAddress.update(from: rows.rowSum, count: rowSum.count)
  }

  /// The rows; valid for as long as the sums live.
  @unsafe
  var rows: RowState {
    unsafe RowState(
      rowMax: rowMax.unsafeBaseAddress, rowSum: rowSum.unsafeBaseAddress,
      output: output.unsafeBaseAddress, outputStride: shape.queryHeads * shape.valueHeadDim)
  }

  /// Divides by the row sums.
  ///
  /// - Parameter remainders: what rounding took from these.
  consuming func finish(_ remainders: borrowing RowRemainders) -> AttentionOutput {
    unsafe rows.divide(shape: shape, tokens: output.shape[1], remainders)
    return AttentionOutput(o: output, lse: rowMax, lseRemainder: rowSum)
  }
}

extension RowState {
  /// Divides outputs by their row sums, and makes the maxima log-sum-exps, the sums what rounding took
  /// from these.
  func divide(shape: AttentionShape, tokens: Int, _ remainders: borrowing RowRemainders) {
    shape.forEachRow(tokens: tokens) { row, first in
      let sum = unsafe Double(rowSum[row]) + Double(remainders.ofRowSum(row))
      // No key seen: the output is already 0 and the maximum already −∞.
      if sum == 0 { return }
      let inverse = Float(1 / sum)
      for d in first..<first + shape.valueHeadDim { unsafe output[d] *= inverse }
      let exact = unsafe Double(rowMax[row]) * M_LN2 + log(sum)
      unsafe (rowMax[row], rowSum[row]) = split(exact)
    }
  }
}

/// The state of the rows of a ``ForwardAccumulator`` in reproducible sums.
struct ReproducibleForwardSums: ~Copyable {
  private let shape: AttentionShape
  private let tokens: Int
  /// `[batch, queryHeads, tokens]` rows of `valueHeadDim`.
  private let outputs: ReproducibleBuffer
  /// `[batch, queryHeads, tokens]` rows of one number.
  private let rowSums: ReproducibleBuffer

  init(shape: AttentionShape, tokens: Int) {
    self.shape = shape
    self.tokens = tokens
    let rows = shape.batch * shape.queryHeads * tokens
    outputs = ReproducibleBuffer(rows: rows, columns: shape.valueHeadDim)
    rowSums = ReproducibleBuffer(rows: rows, columns: 1)
  }

  /// The rows; valid for as long as the sums live.
  @unsafe
  var rows: ReproducibleState {
    unsafe ReproducibleState(outputs: outputs.rows, rowSums: rowSums.rows)
  }

  /// Divides by the row sums.
  func finish() -> AttentionOutput { unsafe rows.output(shape: shape, tokens: tokens) }
}

extension ReproducibleState {
  /// Divides by the row sums.
  func output(shape: AttentionShape, tokens: Int) -> AttentionOutput {
    let o = Tensor<Float>(zeros: [shape.batch, tokens, shape.queryHeads, shape.valueHeadDim])
    let states: Shape = [shape.batch, shape.queryHeads, tokens]
    let lse = Tensor<Float>(repeating: -.infinity, shape: states)
    let lseRemainder = Tensor<Float>(zeros: states)
    shape.forEachRow(tokens: tokens) { row, first in
      guard let order = rowSums.order(row: row) else { return }
      let sum = rowSums.units(row: row, column: 0)
      unsafe outputs.write(
        row: row, times: 1 / sum, order: -order, to: o.unsafeBaseAddress + first)
      let exact = Double(order) * M_LN2 + log(sum)
      unsafe (lse.unsafeBaseAddress[row], lseRemainder.unsafeBaseAddress[row]) = split(exact)
    }
    return AttentionOutput(o: o, lse: lse, lseRemainder: lseRemainder)
  }
}

extension AttentionShape {
  /// Calls `body` with the index of every row's state, `[batch, queryHeads, tokens]`, and of the
  /// first element of its output.
  func forEachRow(tokens: Int, _ body: (_ row: Int, _ first: Int) -> Void) {
    for batch in 0..<batch {
      for token in 0..<tokens {
        for head in 0..<queryHeads {
          body(
            (batch * queryHeads + head) * tokens + token,
            ((batch * tokens + token) * queryHeads + head) * valueHeadDim)
        }
      }
    }
  }
}
