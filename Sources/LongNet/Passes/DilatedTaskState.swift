import Attention
import Tensors

/// The queries of a task, gathered, and what they have found out about the keys so far.
///
/// Rows are numbered as they follow one another, so that a task is attention over short dense
/// sequences, and kernels run on it at full speed.
struct DilatedTaskState: ~Copyable {
  private let blockMemory: ReusedMemory.Loan
  private let partialMemory: ReusedMemory.Loan
  private let computation: BlockComputation
  /// Room for the queries.
  var queries: QueryBlock
  /// What they have found out.
  var partial: ForwardPartial

  /// Takes memory for queries that have seen nothing.
  ///
  /// - Parameters:
  ///   - computation: on the dense problem.
  ///   - queries: rows of each segment.
  init(_ computation: BlockComputation, queries runs: [PositionRange], _ memory: ReusedMemory) {
    let shape = computation.shape
    let tokens = runs.reduce(0) { $0 + $1.count }
    self.computation = computation
    blockMemory = memory.take(
      QueryBlock.byteCount(tokens: tokens, shape: shape, pass: .forward))
    partialMemory = memory.take(ForwardPartial.byteCount(tokens: tokens, shape: shape))
    queries = unsafe QueryBlock(
      shape: shape, runs: runs, pass: .forward, memory: blockMemory.bytes)
    partial = unsafe ForwardPartial(shape: shape, tokens: tokens, memory: partialMemory.bytes)
    partial.clear(team: computation.team)
  }

  /// Takes a block of keys into account.
  mutating func attend(to block: borrowing KeyValueBlock, poll: (_ scores: Int) -> Void) {
    computation.attend(queries, to: block, addingTo: &partial, poll: poll)
  }
}
