import Attention
import Tensors

/// Rows of queries and keys that are turned by their positions, beside a pass: what rotary
/// positions cost.
///
/// Jobs turn rows as they are read, before keys are packed, and gradients back when they are there.
/// It is the same work on copies, over and over: turning keeps their size.
final class RowTurning {
  private let rotation: RotaryPositions
  private let shape: AttentionShape
  private let team: ThreadTeam
  /// `[batch, tokens, queryHeads, headDim]` and `[batch, keys, kvHeads, headDim]`.
  private var queries: Tensor<Float>
  private var keys: Tensor<Float>
  private let queryPositions: [Int]
  private let keyPositions: [Int]

  /// Makes rows of the same random numbers.
  ///
  /// - Parameters:
  ///   - queries: where queries stand.
  ///   - keys: where keys stand.
  init(
    _ rotation: RotaryPositions, shape: AttentionShape, queries queryRuns: [PositionRange],
    keys keyRuns: [PositionRange], team: ThreadTeam
  ) {
    self.rotation = rotation
    self.shape = shape
    self.team = team
    queryPositions = queryRuns.flatMap { Array($0) }
    keyPositions = keyRuns.flatMap { Array($0) }
    queries = Tensor(
      zeros: [shape.batch, queryPositions.count, shape.queryHeads, shape.headDim])
    keys = Tensor(zeros: [shape.batch, keyPositions.count, shape.kvHeads, shape.headDim])
    RandomNormal(seed: 0, tensor: 0).fill(&queries)
    RandomNormal(seed: 0, tensor: 1).fill(&keys)
  }

  /// Columns of all rows that are turned.
  var columns: Int {
    let rows = queryPositions.count * shape.queryHeads + keyPositions.count * shape.kvHeads
    return shape.batch * rows * 2 * rotation.frequencies.count
  }

  /// Turns all rows.
  ///
  /// - Parameter backwards: as gradients are.
  func run(backwards: Bool) throws {
    try turn(&queries, heads: shape.queryHeads, queryPositions, backwards)
    try turn(&keys, heads: shape.kvHeads, keyPositions, backwards)
  }

  private func turn(
    _ tensor: inout Tensor<Float>, heads: Int, _ positions: [Int], _ backwards: Bool
  ) throws {
    if positions.isEmpty { return }
    let (rotation, headDim) = (rotation, shape.headDim)
    var numbers = tensor.mutableSpan
    // As parts are read.
    try team.forEachPart(of: &numbers, rowLength: heads * headDim, partLength: 1 << 16) {
      part, rows in
      rotation.turn(
        &part, heads: heads, headDim: headDim,
        positions: rows.lazy.map { positions[$0 % positions.count] }, backwards: backwards)
    }
  }
}

extension RandomNormal {
  fileprivate func fill(_ tensor: inout Tensor<Float>) {
    var numbers = tensor.mutableSpan
    fill(&numbers, from: 0)
  }
}
