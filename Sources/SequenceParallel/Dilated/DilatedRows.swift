import Attention
import Tensors

/// The rows of a step at its worker: gathered once into dense tensors, whose tokens are the rows of
/// a segment and whose sequences are the segments, so that the kernels run on them at full speed.
struct DilatedRows {
  private let plan: DilatedPlan
  private let step: DilatedStep
  private let family: DilatedFamily
  /// The dense problem.
  let shape: AttentionShape

  init(plan: DilatedPlan, step: DilatedStep) {
    self.plan = plan
    self.step = step
    family = plan.families[step.task.family]
    shape = family.shape(segments: step.task.segments.count, of: plan.shape)
  }

  /// What a query sees: rows are numbered as they follow one another.
  var pattern: any AttentionPattern {
    plan.pattern.isCausal ? CausalPattern() : FullPattern()
  }

  /// Reads rows of queries, `[segments, queries, heads, width]`.
  func queries(from homes: [DilatedRounds.Cursor], width: Int) -> Tensor<Float> {
    let tensor = Tensor<Float>(
      zeros: [shape.batch, step.task.queryCount, shape.queryHeads, width])
    unsafe fill(RowGrid(tokensFirst: tensor), from: homes)
    return tensor
  }

  /// Reads rows of queries into a tensor of them.
  func fill(_ grid: RowGrid, from homes: [DilatedRounds.Cursor]) {
    forEachQuery { rank, sequence, rows in
      unsafe grid.write(
        batch: sequence, tokens: rows, heads: Array(0..<shape.queryHeads),
        from: &homes[rank].source)
    }
  }

  /// Reads and packs keys and values.
  func block(from homes: [DilatedRounds.Cursor]) -> KeyValueBlock {
    var block = KeyValueBlock(
      shape: shape, elementType: .f32, runs: [PositionRange(step.keys)])
    let keys = keyRows(from: homes, width: shape.headDim)
    let values = keyRows(from: homes, width: shape.valueHeadDim)
    block.pack(keys: keys, values: values)
    return block
  }

  private func keyRows(from homes: [DilatedRounds.Cursor], width: Int) -> Tensor<Float> {
    let tensor = Tensor<Float>(zeros: [shape.batch, step.keys.count, shape.kvHeads, width])
    let grid = unsafe RowGrid(tokensFirst: tensor)
    forEachKey { rank, sequence, rows in
      unsafe grid.write(
        batch: sequence, tokens: rows, heads: Array(0..<shape.kvHeads), from: &homes[rank].source)
    }
    return tensor
  }

  /// Writes rows of queries, `[segments, queries, heads, width]` or `[segments, heads, queries]`, for
  /// their homes.
  func send(_ tensor: borrowing Tensor<Float>, to results: [DilatedRounds.Cursor]) {
    let grid =
      unsafe tensor.shape.rank == 3
      ? RowGrid(headsFirst: tensor) : RowGrid(tokensFirst: tensor)
    forEachQuery { rank, sequence, rows in
      unsafe grid.read(
        batch: sequence, tokens: rows, heads: Array(0..<shape.queryHeads),
        to: &results[rank].address)
    }
  }

  /// Writes rows of keys, `[segments, keys, heads, width]`, for their homes.
  func sendKeys(_ tensor: borrowing Tensor<Float>, to results: [DilatedRounds.Cursor]) {
    let grid = unsafe RowGrid(tokensFirst: tensor)
    forEachKey { rank, sequence, rows in
      unsafe grid.read(
        batch: sequence, tokens: rows, heads: Array(0..<shape.kvHeads), to: &results[rank].address)
    }
  }

  private func forEachQuery(_ body: (_ rank: Int, _ sequence: Int, _ rows: PositionRange) -> Void) {
    for rank in 0..<plan.ranks {
      plan.forEachQuery(of: step, heldBy: rank) { batch, held in
        body(rank, batch * step.task.segments.count + held.segment, held.rows)
      }
    }
  }

  private func forEachKey(_ body: (_ rank: Int, _ sequence: Int, _ rows: PositionRange) -> Void) {
    for rank in 0..<plan.ranks {
      plan.forEachKey(of: step, heldBy: rank) { batch, held in
        body(rank, batch * step.task.segments.count + held.segment, held.rows)
      }
    }
  }
}
