import Attention
import Tensors

/// The forward pass: queries, keys and values go to the workers, outputs and log-sum-exps come
/// home.
final class DilatedForwardPass: DilatedPass {
  private let plan: DilatedPlan
  private let rank: Int
  private let scale: Double
  private let scoreRule: (any ScoreRule)?
  private let arithmetic: Arithmetic
  private let team: ThreadTeam
  private let memory: ReusedMemory
  private let queries: RowGrid
  private let keys: RowGrid
  private let values: RowGrid
  private let sendsRemainder: Bool
  private let keepsBranchOutputs: Bool
  /// For each task, the outputs of this rank's queries in its branch alone, if they are kept.
  private(set) var branchOutputs: [DilatedTask: [Float]] = [:]
  private var merger: OutputMerger?
  /// Queries of a task whose keys come in several steps.
  private var current: DilatedTaskState?

  let outward: RowWidths
  let homeward: RowWidths

  /// - Parameters:
  ///   - q: `[batch, tokens, queryHeads, headDim]` of this rank, alive for as long as the pass.
  ///   - k: likewise.
  ///   - v: likewise.
  ///   - sendsRemainder: whether the log-sum-exp comes home with what rounding takes from it, which
  ///     a backward pass needs.
  ///   - keepsBranchOutputs: whether outputs are kept branch by branch too.
  ///   - memory: for rows at their worker.
  init(
    _ plan: DilatedPlan, rank: Int, scale: Double, scoreRule: (any ScoreRule)?,
    arithmetic: Arithmetic,
    q: borrowing Tensor<Float>, k: borrowing Tensor<Float>, v: borrowing Tensor<Float>,
    sendsRemainder: Bool, keepsBranchOutputs: Bool, team: ThreadTeam, memory: ReusedMemory
  ) {
    self.plan = plan
    self.rank = rank
    self.scale = scale
    self.scoreRule = scoreRule
    self.arithmetic = arithmetic
    self.team = team
    self.memory = memory
    self.sendsRemainder = sendsRemainder
    self.keepsBranchOutputs = keepsBranchOutputs
    unsafe queries = RowGrid(tokensFirst: q)
    unsafe keys = RowGrid(tokensFirst: k)
    unsafe values = RowGrid(tokensFirst: v)
    let shape = plan.shape
    merger = OutputMerger(
      batch: shape.batch, tokens: q.shape[1], heads: shape.queryHeads,
      valueHeadDim: shape.valueHeadDim, team: team)
    outward = plan.forwardOutward
    homeward = plan.forwardHomeward(withRemainder: sendsRemainder)
  }

  func write(_ step: DilatedStep, to worker: MessageCursor) {
    if step.isFirst { plan.writeQueries([queries], of: step, heldBy: rank, to: worker, team) }
    plan.writeKeys([keys, values], of: step, heldBy: rank, to: worker, team)
  }

  func compute(
    _ step: DilatedStep, homes: [MessageCursor], results: [MessageCursor],
    poll: (_ scores: Int) -> Void
  ) {
    let rows = DilatedRows(plan: plan, step: step, team: team)
    var state = current.take() ?? start(step, rows, homes)
    let blockMemory = memory.take(rows.blockByteCount)
    let block = unsafe rows.block(from: homes, memory: blockMemory.bytes)
    state.attend(to: block, poll: poll)
    withExtendedLifetime(blockMemory) {}
    guard step.isLast else {
      current = consume state
      return
    }
    state.partial.divide(team: team)
    unsafe rows.send(state.partial.outputGrid, to: results)
    let statistics = unsafe state.partial.logSumExpGrids
    for grid in statistics.prefix(sendsRemainder ? 2 : 1) { rows.send(grid, to: results) }
  }

  private func start(
    _ step: DilatedStep, _ rows: DilatedRows, _ homes: [MessageCursor]
  ) -> DilatedTaskState {
    let state = DilatedTaskState(
      BlockComputation(
        shape: rows.shape, scale: scale, pattern: rows.pattern, scoreRule: rows.rule(scoreRule),
        arithmetic: arithmetic, team: team),
      queries: step.task.queries, memory)
    unsafe rows.fill(state.queries.queryGrid, from: homes)
    return state
  }

  func read(_ step: DilatedStep, from worker: MessageCursor) {
    guard step.isLast else { return }
    let family = plan.families[step.task.family]
    let rowCount = plan.floats(
      step, home: rank, RowWidths(query: 1, key: 0), queries: true)
    var output = unsafe UnsafePointer(worker.address)
    var lse = unsafe output + rowCount * plan.shape.valueHeadDim
    var remainder = unsafe sendsRemainder ? lse + rowCount : nil
    unsafe worker.address += rowCount * homeward.query
    if keepsBranchOutputs {
      branchOutputs[step.task] = unsafe Array(
        UnsafeBufferPointer(start: output, count: rowCount * plan.shape.valueHeadDim))
    }
    plan.forEachQuery(of: step, heldBy: rank) { batch, held in
      unsafe merger?.merge(
        batch: batch, tokens: held.tokens, heads: family.queryHeads, output: &output,
        logSumExp: &lse, remainder: &remainder)
    }
  }

  /// Gives the outputs of this rank's queries away.
  func finish() -> AttentionOutput {
    guard let merger = merger.take() else { preconditionFailure("the output is given away once") }
    return merger.finish()
  }
}
