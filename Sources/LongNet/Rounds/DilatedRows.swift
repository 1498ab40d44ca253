import Attention
import Tensors

/// The rows of a step at its worker: gathered once into dense tensors, whose tokens are the rows of
/// a segment and whose sequences are the segments, so that the kernels run on them at full speed.
struct DilatedRows {
  private let plan: DilatedPlan
  private let step: DilatedStep
  private let family: DilatedFamily
  private let team: ThreadTeam
  /// The dense problem.
  let shape: AttentionShape

  /// - Parameter team: gathers and packs.
  init(plan: DilatedPlan, step: DilatedStep, team: ThreadTeam) {
    self.plan = plan
    self.team = team
    self.step = step
    family = plan.families[step.task.family]
    shape = family.shape(segments: step.task.segments.count, of: plan.shape)
  }

  /// What a query sees: rows are numbered as they follow one another.
  var pattern: any AttentionPattern {
    plan.pattern.isCausal ? CausalPattern() : FullPattern()
  }

  /// A rule of the sequence, for these rows.
  func rule(_ rule: (any ScoreRule)?) -> (any ScoreRule)? {
    rule?.ofRows(of: family, segments: step.task.segments)
  }

  /// Reads rows of queries, `[segments, queries, heads, width]`.
  func fill(_ grid: RowGrid, from homes: [MessageCursor]) {
    forEachQuery { rank, sequence, rows in
      unsafe grid.write(
        batch: sequence, tokens: rows, heads: Array(0..<shape.queryHeads),
        from: &homes[rank].source, team: team)
    }
  }

  /// The bytes of the packed keys and values.
  var blockByteCount: Int {
    KeyValueBlock.byteCount(keys: step.keys.count, shape: shape, elementType: .f32)
  }

  /// Reads keys and values and packs them straight from the messages.
  ///
  /// - Parameter memory: ``blockByteCount``, for as long as the block lives.
  @unsafe
  func block(
    from homes: [MessageCursor], memory: UnsafeMutableRawBufferPointer
  ) -> KeyValueBlock {
    var block = unsafe KeyValueBlock(
      shape: shape, elementType: .f32, runs: [PositionRange(step.keys)], memory: memory)
    forEachKeyRun(homes, width: shape.headDim) { rows, sequence, first in
      block.packKeys(rows, batch: sequence, run: 0, from: first, team: team)
    }
    forEachKeyRun(homes, width: shape.valueHeadDim) { rows, sequence, first in
      block.packValues(rows, batch: sequence, run: 0, from: first, team: team)
    }
    return block
  }

  /// Calls `body` with neighbouring rows of keys, where they are in messages.
  private func forEachKeyRun(
    _ homes: [MessageCursor], width: Int,
    _ body: (_ rows: Span<Float>, _ sequence: Int, _ first: Int) -> Void
  ) {
    forEachKey { rank, sequence, held in
      let together = held.isContiguous ? max(1, held.count) : 1
      for first in stride(from: 0, to: held.count, by: together) {
        let count = together * shape.kvHeads * width
        let rows = unsafe Span(_unsafeStart: homes[rank].source, count: count)
        body(rows, sequence, held.start + first * held.stride)
        unsafe homes[rank].source += count
      }
    }
  }

  /// Writes rows of queries for their homes.
  func send(_ grid: RowGrid, to results: [MessageCursor]) {
    forEachQuery { rank, sequence, rows in
      unsafe grid.read(
        batch: sequence, tokens: rows, heads: Array(0..<shape.queryHeads),
        to: &results[rank].address, team: team)
    }
  }

  /// Writes rows of keys, `[segments, keys, heads, width]`, for their homes.
  func sendKeys(_ grid: RowGrid, to results: [MessageCursor]) {
    forEachKey { rank, sequence, rows in
      unsafe grid.read(
        batch: sequence, tokens: rows, heads: Array(0..<shape.kvHeads),
        to: &results[rank].address, team: team)
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
