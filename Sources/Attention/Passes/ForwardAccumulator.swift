public import AttentionTypes
public import Compute
import Tensors

/// The forward pass of a rank's queries: blocks of keys and values are taken in, in any order, and
/// the result is exact softmax attention over all of them.
///
/// The state of a query row is `(rowMax, rowSum, output)`, a ``ForwardPartial``; a block is merged
/// into it by online softmax, with what rounding takes from the sums kept beside them, so that
/// their error does not grow with the number of keys. Memory is the output twice, three floats a
/// row, and a few hundred KiB a thread; reproducible sums take 16 bytes for a number of the output
/// and 32 more a row.
public struct ForwardAccumulator: ~Copyable {
  /// The dimensions of the problem.
  public var shape: AttentionShape { computation.shape }

  /// How blocks are added.
  public var accumulation: Accumulation { computation.accumulation }

  private let computation: BlockComputation
  private let tokens: Int
  private var partial: ForwardPartial

  /// Creates the state of `tokens` queries that have seen nothing.
  ///
  /// - Parameters:
  ///   - scale: multiplies `q·k`, usually 1/√headDim.
  ///   - pattern: what a query sees.
  ///   - scoreRule: what becomes of scores; nil if nothing does.
  ///   - accumulation: how blocks are added; if reproducible, blocks consist of whole leaves, while
  ///     queries may be any.
  ///   - arithmetic: what products are computed of.
  ///   - instructions: those of the kernels; one of ``InstructionSet/ofThisProcessor``.
  public init(
    shape: AttentionShape, tokens: Int, scale: Double, pattern: any AttentionPattern,
    scoreRule: (any ScoreRule)? = nil, accumulation: Accumulation = .fast,
    arithmetic: Arithmetic = .f32,
    instructions: InstructionSet = .inUse, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    self.init(
      BlockComputation(
        shape: shape, scale: scale, pattern: pattern, scoreRule: scoreRule,
        accumulation: accumulation, arithmetic: arithmetic, instructions: instructions, team: team),
      tokens: tokens)
  }

  /// Creates the state of `tokens` queries that have seen nothing.
  package init(_ computation: BlockComputation, tokens: Int) {
    self.computation = computation
    self.tokens = tokens
    partial = ForwardPartial(
      shape: computation.shape, tokens: tokens, accumulation: computation.accumulation)
  }

  /// Takes a block of keys and values into the state of every query that sees any of it.
  ///
  /// - Parameters:
  ///   - queries: the same shard at every call, `[batch, tokens, queryHeads, headDim]`.
  ///   - block: keys and values with their positions. No key may come twice.
  ///   - poll: called on the caller's thread between tiles, some tens of microseconds apart, so
  ///     that transfers in flight make progress; it is told how many scores that thread has
  ///     computed since the last call.
  /// - Complexity: `4 · headDim` floating-point operations a visible pair.
  public mutating func attend(
    _ queries: borrowing QueryShard, to block: borrowing KeyValueBlock,
    poll: (_ scores: Int) -> Void = { _ in }
  ) {
    precondition(
      queries.tensor.shape == [shape.batch, tokens, shape.queryHeads, shape.headDim],
      "queries of another problem")
    unsafe computation.forward(
      tokens: tokens, runs: queries.runs,
      queries: UnsafePointer(queries.tensor.unsafeBaseAddress), block: block,
      results: partial.growingRows(),
      poll: poll)
  }

  /// Takes keys and values that lie in pages into the state of every query that sees any of them:
  /// one pass over all pages, which are read where they are.
  ///
  /// - Parameters:
  ///   - queries: as in ``attend(_:to:poll:)``. Their rows may be turned otherwise than at other
  ///     calls, for keys to which they stand otherwise.
  ///   - pages: none of whose keys has been there before; of one sequence.
  ///   - layer: of the pages.
  /// - Precondition: contributions are added by ``Accumulation/fast``.
  public mutating func attend(
    _ queries: borrowing QueryShard, to pages: [KeyValuePage.Part], layer: Int,
    poll: (_ scores: Int) -> Void = { _ in }
  ) {
    precondition(
      queries.tensor.shape == [shape.batch, tokens, shape.queryHeads, shape.headDim],
      "queries of another problem")
    precondition(accumulation == .fast, "pages are no whole leaves")
    if pages.isEmpty { return }
    precondition(pages.allSatisfy { $0.page.shape == shape }, "pages of another problem")
    unsafe computation.forward(
      tokens: tokens, runs: queries.runs,
      queries: UnsafePointer(queries.tensor.unsafeBaseAddress),
      keyRuns: pages.map(\.positions), heads: pages.flatMap { unsafe $0.page.heads(layer: layer) },
      results: partial.growingRows(), poll: poll)
    // Addresses do not keep pages alive.
    withExtendedLifetime(pages) {}
  }

  /// Divides by the row sums and gives the result away.
  ///
  /// - Returns: `o` `[batch, tokens, queryHeads, valueHeadDim]` and `lse`
  ///   `[batch, queryHeads, tokens]` in natural-log units. A row that saw no key has output 0 and
  ///   log-sum-exp −∞.
  public consuming func finish() -> AttentionOutput { partial.output(team: computation.team) }
}
