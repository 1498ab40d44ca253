import Attention
import SequenceParallel
import Tensors

/// The backward pass: queries with what is known about their rows, keys and values go to the
/// workers, gradients come home and are added.
///
/// A weight of the merged softmax is `exp(score − lse)` with the log-sum-exp over all branches, so
/// the branches need nothing of each other.
final class DilatedBackwardPass: DilatedPass {
  private let plan: DilatedPlan
  private let rank: Int
  private let team: ThreadTeam
  private let memory: ReusedMemory
  private let scale: Double
  private let scoreRule: (any ScoreRule)?
  private let arithmetic: Arithmetic
  private let queries: RowGrid
  private let outputGradient: RowGrid
  /// lse, its remainder, and Δ.
  private let statistics: [RowGrid]
  private let keys: RowGrid
  private let values: RowGrid
  /// For each task, the outputs of this rank's queries in its branch alone, from which Δ is
  /// computed if the weights of branches are taken for constants.
  private let branchOutputs: [DilatedTask: [Float]]?
  private var gradients: AttentionGradients?
  private let queryGradients: RowGrid
  /// Of keys and of values.
  private let keyGradients: [RowGrid]
  /// Queries of a task whose keys come in several steps.
  private var current: Current?

  let outward: RowWidths
  let homeward: RowWidths

  /// Queries at their worker, with their gradients so far.
  private struct Current: ~Copyable {
    private let blockMemory: ReusedMemory.Loan
    private let gradientMemory: ReusedMemory.Loan
    let block: QueryBlock
    var gradient: QueryGradient

    init(
      shape: AttentionShape, queries: [PositionRange], _ memory: ReusedMemory, _ team: ThreadTeam
    ) {
      let tokens = queries.reduce(0) { $0 + $1.count }
      blockMemory = memory.take(
        QueryBlock.byteCount(tokens: tokens, shape: shape, pass: .backward))
      gradientMemory = memory.take(QueryGradient.byteCount(tokens: tokens, shape: shape))
      block = unsafe QueryBlock(
        shape: shape, runs: queries, pass: .backward, memory: blockMemory.bytes)
      gradient = unsafe QueryGradient(
        shape: shape, tokens: tokens, memory: gradientMemory.bytes)
      gradient.clear(team: team)
    }
  }

  /// - Parameters:
  ///   - block: this rank's queries, `do` and statistics, alive for as long as the pass.
  ///   - k: `[batch, tokens, kvHeads, headDim]` of this rank, likewise.
  ///   - v: likewise.
  ///   - branchOutputs: outputs branch by branch if the weights of branches are taken for
  ///     constants.
  ///   - memory: for rows at their worker.
  init(
    _ plan: DilatedPlan, rank: Int, scale: Double, scoreRule: (any ScoreRule)?,
    arithmetic: Arithmetic,
    block: borrowing QueryBlock, k: borrowing Tensor<Float>, v: borrowing Tensor<Float>,
    branchOutputs: [DilatedTask: [Float]]?, team: ThreadTeam, memory: ReusedMemory
  ) {
    let shape = plan.shape
    self.plan = plan
    self.rank = rank
    self.scale = scale
    self.scoreRule = scoreRule
    self.arithmetic = arithmetic
    self.team = team
    self.memory = memory
    self.branchOutputs = branchOutputs
    unsafe queries = block.queryGrid
    unsafe outputGradient = block.outputGradientGrid
    unsafe statistics = block.statisticGrids
    unsafe keys = RowGrid(tokensFirst: k)
    unsafe values = RowGrid(tokensFirst: v)
    let gradients = AttentionGradients(
      dq: Tensor(zeros: [shape.batch, block.tokens, shape.queryHeads, shape.headDim]),
      dk: Tensor(zeros: k.shape), dv: Tensor(zeros: v.shape))
    unsafe queryGradients = RowGrid(tokensFirst: gradients.dq)
    unsafe keyGradients = [
      RowGrid(tokensFirst: gradients.dk), RowGrid(tokensFirst: gradients.dv),
    ]
    self.gradients = consume gradients
    outward = plan.backwardOutward
    homeward = plan.backwardHomeward
  }

  func write(_ step: DilatedStep, to worker: MessageCursor) {
    if step.isFirst {
      let first = unsafe worker.address
      plan.writeQueries(
        [queries, outputGradient] + statistics, of: step, heldBy: rank, to: worker, team)
      if let branchOutputs { unsafe replaceDeltas(in: first, outputs: branchOutputs[step.task]) }
    }
    plan.writeKeys([keys, values], of: step, heldBy: rank, to: worker, team)
  }

  /// Computes `Δ = Σ do ∘ o` with the outputs of one branch, in the rows of a message, of the
  /// numbers that products are computed of.
  @unsafe
  private func replaceDeltas(in message: UnsafeMutablePointer<Float>, outputs: [Float]?) {
    guard let outputs else { return }
    let (headDim, width) = (plan.shape.headDim, plan.shape.valueHeadDim)
    let rows = outputs.count / width
    let gradients = unsafe message + rows * headDim
    let deltas = unsafe gradients + rows * (width + 2)
    nonisolated(unsafe) let (read, write) = unsafe (gradients, deltas)
    let rounds = arithmetic == .bf16
    team.forEachPart(of: rows, cost: 2 * width) { part in
      for row in part {
        var sum: Float = 0
        for column in row * width..<(row + 1) * width {
          let gradient = unsafe read[column]
          sum += (rounds ? Float(BFloat16(gradient)) : gradient) * outputs[column]
        }
        unsafe write[row] = sum
      }
    }
  }

  func compute(
    _ step: DilatedStep, homes: [MessageCursor], results: [MessageCursor],
    poll: (_ scores: Int) -> Void
  ) {
    let rows = DilatedRows(plan: plan, step: step, team: team)
    var state = current.take() ?? start(step, rows, homes)
    let blockMemory = memory.take(rows.blockByteCount)
    let block = unsafe rows.block(from: homes, memory: blockMemory.bytes)
    let gradientMemory = memory.take(
      KeyValueGradient.byteCount(keys: step.keys.count, shape: rows.shape))
    var keyGradient = unsafe KeyValueGradient(
      shape: rows.shape, keys: step.keys.count, memory: gradientMemory.bytes)
    keyGradient.clear(team: team)
    BlockComputation(
      shape: rows.shape, scale: scale, pattern: rows.pattern, scoreRule: rows.rule(scoreRule),
      arithmetic: arithmetic, team: team
    )
    .addGradients(state.block, and: block, to: &state.gradient, and: &keyGradient, poll: poll)
    if step.isLast {
      state.gradient.multiply(by: scale, team: team)
      unsafe rows.send(state.gradient.grid, to: results)
    }
    unsafe rows.sendKeys(keyGradient.keyGrid, to: results)
    unsafe rows.sendKeys(keyGradient.valueGrid, to: results)
    withExtendedLifetime(blockMemory) {}
    withExtendedLifetime(gradientMemory) {}
    if !step.isLast { current = consume state }
  }

  private func start(
    _ step: DilatedStep, _ rows: DilatedRows, _ homes: [MessageCursor]
  ) -> Current {
    let state = Current(shape: rows.shape, queries: step.task.queries, memory, team)
    let grids =
      unsafe [state.block.queryGrid, state.block.outputGradientGrid]
      + state.block.statisticGrids
    for grid in grids { rows.fill(grid, from: homes) }
    return state
  }

  func read(_ step: DilatedStep, from worker: MessageCursor) {
    let family = plan.families[step.task.family]
    if step.isLast {
      plan.forEachQuery(of: step, heldBy: rank) { batch, held in
        unsafe queryGradients.add(
          batch: batch, tokens: held.tokens, heads: family.queryHeads, from: &worker.source,
          team: team)
      }
    }
    for grid in keyGradients {
      plan.forEachKey(of: step, heldBy: rank) { batch, held in
        unsafe grid.add(
          batch: batch, tokens: held.tokens, heads: family.kvHeads, from: &worker.source,
          team: team)
      }
    }
  }

  /// Gives the gradients of this rank's queries, keys and values away.
  func finish() -> AttentionGradients {
    guard let gradients = gradients.take() else {
      preconditionFailure("the gradients are given away once")
    }
    return gradients
  }
}
