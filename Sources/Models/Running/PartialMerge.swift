import Attention
import Glibc
import MPI
import Tensors

/// Attention of the same few queries over the keys of each rank, merged to attention over all of
/// them.
///
/// A row is a record `(m, s, s · o)`, where `e^m · s` is the sum of its weights and `o` its output.
/// Two are merged as online softmax does. In log₂P rounds a rank gives
/// `queryHeads · (headDim + 2) · 4` bytes a token to the rank whose number differs in one bit and
/// gets as many; ranks beyond a power of two give theirs to another before and get the result
/// after. Merging is symmetric to the last bit, so that all ranks get the same.
///
/// Source: Dao et al. 2023, Flash-Decoding.
struct PartialMerge: ~Copyable {
  private let headDim: Int
  private let heads: Int
  private let world: Communicator

  /// Connects the ranks, called by all of them together.
  init(heads: Int, headDim: Int, on world: borrowing Communicator) throws(MPIError) {
    self.heads = heads
    self.headDim = headDim
    self.world = try world.duplicate()
  }

  /// Bytes that this rank has sent.
  var bytesSent: Int { world.traffic.bytesSent }

  /// Merges what each rank has found, called by all ranks together.
  ///
  /// - Parameters:
  ///   - output: of `tokens` queries of one sequence.
  ///   - result: `[tokens, heads, headDim]`.
  func merge(
    _ output: borrowing AttentionOutput, into result: inout MutableSpan<Float>
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
    try mergeAll(&records)
    for row in 0..<tokens * heads {
      let sum = records[row * record + 1]
      for column in 0..<headDim {
        result[row * headDim + column] = sum == 0 ? 0 : records[row * record + 2 + column] / sum
      }
    }
  }

  /// Merges the records of all ranks, by recursive doubling.
  private func mergeAll(_ records: inout [Float]) throws(MPIError) {
    let (rank, size) = (world.rank, world.size)
    var paired = 1
    while 2 * paired <= size { paired *= 2 }
    if rank >= paired {
      try world.send(records.span, to: rank - paired, tag: 0)
      return try receive(&records, from: rank - paired)
    }
    var others = records
    if rank + paired < size {
      try receive(&others, from: rank + paired)
      merge(others, into: &records)
    }
    var distance = 1
    while distance < paired {
      try world.send(records.span, to: rank ^ distance, tag: 0)
      try receive(&others, from: rank ^ distance)
      merge(others, into: &records)
      distance *= 2
    }
    if rank + paired < size { try world.send(records.span, to: rank + paired, tag: 0) }
  }

  private func receive(_ records: inout [Float], from rank: Int) throws(MPIError) {
    var span = records.mutableSpan
    try world.receive(into: &span, from: rank, tag: 0)
  }

  private func merge(_ others: [Float], into records: inout [Float]) {
    var span = records.mutableSpan
    Self.merge(others.span, into: &span, record: headDim + 2)
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
