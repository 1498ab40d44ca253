import AttentionTypes
public import Compute
import Glibc
public import Tensors

/// Attention of the same queries over different keys, each divided by its row sums already, added
/// up to attention over all of them.
///
/// With `lse = ln(exp lse₁ + exp lse₂)` the output is
/// `exp(lse₁ − lse) · o₁ + exp(lse₂ − lse) · o₂`, which is the merge of a ``ForwardPartial``: an
/// output `o` with its log-sum-exp is the partial result `(m, s, s o)` where `2^m s = exp lse`.
/// Nothing seen, output 0 and log-sum-exp −∞, is its identity. A key that is in both counts twice.
public struct OutputMerger: ~Copyable {
  private var sum: ForwardPartial
  private let team: ThreadTeam

  /// Starts with queries that have seen nothing.
  public init(
    batch: Int, tokens: Int, heads: Int, valueHeadDim: Int,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    sum = ForwardPartial(
      shape: AttentionShape(
        batch: batch, queryHeads: heads, kvHeads: heads, headDim: 1, valueHeadDim: valueHeadDim),
      tokens: tokens)
    self.team = team
  }

  /// Merges some rows, given in the order of tokens, for each token in the order of heads.
  ///
  /// - Parameters:
  ///   - tokens: indices, not positions.
  ///   - output: `[tokens.count, heads.count, valueHeadDim]`; is moved past what is read.
  ///   - logSumExp: `[tokens.count, heads.count]`; is moved past what is read.
  ///   - remainder: what rounding took from `logSumExp`, if that is known; likewise.
  @unsafe
  public mutating func merge(
    batch: Int, tokens: PositionRange, heads: [Int], output: inout UnsafePointer<Float>,
    logSumExp: inout UnsafePointer<Float>, remainder: inout UnsafePointer<Float>?
  ) {
    let shape = sum.shape
    let (width, held) = (shape.valueHeadDim, sum.tokens)
    let rows = unsafe sum.rows
    let count = tokens.count * heads.count
    nonisolated(unsafe) let (outputs, logSumExps) = unsafe (output, logSumExp)
    nonisolated(unsafe) let remainders = unsafe remainder
    unsafe output += count * width
    unsafe logSumExp += count
    unsafe remainder = remainder.map { unsafe $0 + count }
    team.forEachPart(of: tokens.count, cost: heads.count * width) { part in
      for index in part {
        let token = tokens[index]
        for (number, head) in heads.enumerated() {
          let row = index * heads.count + number
          let theirs = unsafe Double(logSumExps[row]) + Double(remainders?[row] ?? 0)
          if theirs == -.infinity { continue }
          let rowMax = Float((theirs * M_LOG2E).rounded(.up))
          let rowSum = Float(exp(theirs - Double(rowMax) * M_LN2))
          unsafe FastSums.merge(
            max: rowMax, sum: rowSum, outputs: outputs + row * width, times: rowSum, into: rows,
            row: (batch * shape.queryHeads + head) * held + token,
            first: ((batch * held + token) * shape.queryHeads + head) * width)
        }
      }
    }
  }

  /// Gives the result away.
  public consuming func finish() -> AttentionOutput { sum.output(team: team) }
}
