import Attention
import SequenceParallel
import Tensors

/// The queries, keys and values of a window of the sequence, and the outputs of its queries so far.
struct DilatedWindow: ~Copyable {
  private let positions: PositionRange
  private let shape: AttentionShape
  private let queries: Tensor<Float>
  private let keys: WindowRows
  private let values: WindowRows
  private var merger: OutputMerger
  private let team: ThreadTeam

  /// Reads the rows of the window.
  init(
    _ positions: PositionRange, shape: AttentionShape, q: any TokenRows, k: any TokenRows,
    v: any TokenRows, team: ThreadTeam
  ) throws {
    let queries = try q.read(shard: [positions], team: team)
    let keys = try WindowRows(positions, of: k, team: team)
    let values = try WindowRows(positions, of: v, team: team)
    self.team = team
    self.positions = positions
    self.shape = shape
    self.queries = queries
    self.keys = keys
    self.values = values
    merger = OutputMerger(
      batch: shape.batch, tokens: positions.count, heads: shape.queryHeads,
      valueHeadDim: shape.valueHeadDim, team: team)
  }

  /// Gathers the queries of a task, `[segments, queries, heads, headDim]`.
  func queries(of task: DilatedTask, _ family: DilatedFamily) -> Tensor<Float> {
    let tensor = Tensor<Float>(
      zeros: [
        shape.batch * task.segments.count, task.queryCount, family.queryHeads.count, shape.headDim,
      ])
    let grid = unsafe RowGrid(tokensFirst: queries)
    var address = unsafe tensor.unsafeBaseAddress
    let runs = queryRuns(of: task, family)
    for batch in 0..<shape.batch {
      for tokens in runs {
        unsafe grid.read(
          batch: batch, tokens: tokens, heads: family.queryHeads, to: &address, team: team)
      }
    }
    return tensor
  }

  /// Gathers and packs the keys and values of a step, and reads those outside of the window.
  func block(of step: DilatedStep, _ family: DilatedFamily) throws -> KeyValueBlock {
    var block = KeyValueBlock(
      shape: family.shape(segments: step.task.segments.count, of: shape), elementType: .f32,
      runs: [PositionRange(step.keys)])
    block.pack(
      keys: try gather(keys, step, family), values: try gather(values, step, family), team: team)
    return block
  }

  /// `[segments, keys, kvHeads, width]`.
  private func gather(
    _ rows: borrowing WindowRows, _ step: DilatedStep, _ family: DilatedFamily
  ) throws -> Tensor<Float> {
    let tensor = Tensor<Float>(
      zeros: [
        shape.batch * step.task.segments.count, step.keys.count, family.kvHeads.count, rows.width,
      ])
    var address = unsafe tensor.unsafeBaseAddress
    for batch in 0..<shape.batch {
      for segment in step.task.segments {
        unsafe try rows.read(
          batch: batch, positions: family.rows(of: segment).slice(step.keys),
          heads: family.kvHeads, to: &address)
      }
    }
    return tensor
  }

  /// Merges what a task has found out about its queries.
  mutating func merge(
    _ output: consuming AttentionOutput, of task: DilatedTask, _ family: DilatedFamily
  ) {
    let (sequences, tokens) = (output.o.shape[0], output.o.shape[1])
    // Log-sum-exps in the order of outputs.
    let lse = Tensor<Float>(zeros: [sequences, tokens, family.queryHeads.count])
    let grid = unsafe RowGrid(headsFirst: output.lse)
    var address = unsafe lse.unsafeBaseAddress
    let heads = Array(family.queryHeads.indices)
    for sequence in 0..<sequences {
      unsafe grid.read(
        batch: sequence, tokens: PositionRange(0..<tokens), heads: heads, to: &address, team: team)
    }
    var outputAddress = unsafe UnsafePointer(output.o.unsafeBaseAddress)
    var lseAddress = unsafe UnsafePointer(lse.unsafeBaseAddress)
    var remainder: UnsafePointer<Float>?
    let runs = queryRuns(of: task, family)
    for batch in 0..<shape.batch {
      for tokens in runs {
        unsafe merger.merge(
          batch: batch, tokens: tokens, heads: family.queryHeads, output: &outputAddress,
          logSumExp: &lseAddress, remainder: &remainder)
      }
    }
  }

  /// Gives the outputs away.
  consuming func finish() -> AttentionOutput { merger.finish() }

  /// The queries of a task as indices of the window's tokens, segment by segment.
  private func queryRuns(of task: DilatedTask, _ family: DilatedFamily) -> [PositionRange] {
    task.segments.flatMap { segment in
      let rows = family.rows(of: segment)
      return task.queries.map {
        PositionRange(
          start: rows.start + $0.start * rows.stride - positions.start,
          stride: rows.stride * $0.stride, count: $0.count)
      }
    }
  }
}
