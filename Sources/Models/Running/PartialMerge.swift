import Attention
import Glibc
import MPI
import Tensors

/// Attention of the same few queries over the keys of each rank, merged to attention over all of
/// them.
///
/// A row is a record `(m, s, s · o)`, where `e^m · s` is the sum of its weights and `o` its output.
/// Two are merged as online softmax does, in one reduction of `queryHeads · (headDim + 2) · 4`
/// bytes a token: a tree of log₂P rounds. Merging is symmetric to the last bit, so that all ranks
/// get the same.
///
/// Source: Dao et al. 2023, Flash-Decoding.
struct PartialMerge: ~Copyable {
  private let headDim: Int
  private let heads: Int
  private let operation: ReductionOperator<Float>

  init(heads: Int, headDim: Int) throws(MPIError) {
    self.heads = heads
    self.headDim = headDim
    operation = try ReductionOperator(commutes: true, elementsPerRecord: headDim + 2) {
      lower, upper in
      Self.merge(lower, into: &upper, record: headDim + 2)
    }
  }

  /// Merges what each rank has found, called by all ranks together.
  ///
  /// - Parameters:
  ///   - output: of `tokens` queries of one sequence.
  ///   - result: `[tokens, heads, headDim]`.
  func merge(
    _ output: borrowing AttentionOutput, into result: inout MutableSpan<Float>,
    on world: borrowing Communicator
  ) throws(MPIError) {
    let tokens = output.o.shape[1]
    let record = headDim + 2
    var records = [Float](repeating: 0, count: tokens * heads * record)
    let (o, lse, rest) = (output.o.span, output.lse.span, output.lseRemainder.span)
    for token in 0..<tokens {
      for head in 0..<heads {
        let (row, state) = (token * heads + head, head * tokens + token)
        let first = row * record
        let isEmpty = lse[state] == -.infinity
        let sum = isEmpty ? 0 : exp(rest[state])
        records[first] = lse[state]
        records[first + 1] = sum
        for column in 0..<headDim {
          records[first + 2 + column] = o[row * headDim + column] * sum
        }
      }
    }
    try world.allReduce(&records, with: operation)
    for row in 0..<tokens * heads {
      let sum = records[row * record + 1]
      for column in 0..<headDim {
        result[row * headDim + column] = sum == 0 ? 0 : records[row * record + 2 + column] / sum
      }
    }
  }

  private static func merge(
    _ lower: borrowing Span<Float>, into upper: inout MutableSpan<Float>, record: Int
  ) {
    for first in stride(from: 0, to: lower.count, by: record) {
      let (a, b) = (lower[first], upper[first])
      let largest = max(a, b)
      // Both have seen nothing.
      if largest == -.infinity { continue }
      let (ofLower, ofUpper) = (exp(a - largest), exp(b - largest))
      upper[first] = largest
      for index in first + 1..<first + record {
        upper[index] = lower[index] * ofLower + upper[index] * ofUpper
      }
    }
  }
}
