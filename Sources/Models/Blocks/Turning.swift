import Attention
import Tensors

/// What is done to the heads of queries and keys of some neighbouring tokens before they meet.
struct Turning {
  let run: PositionRange
  /// Nil where positions turn nothing.
  let positions: RotaryPositions?
  /// Where tokens stand.
  let places: TokenPositions
  let headDim: Int
  let team: ThreadTeam

  /// Normalises heads, if that is done, and turns them by their positions.
  ///
  /// - Parameter rows: `[run.count, heads, headDim]`.
  func turn(_ rows: inout MutableSpan<Float>, norm: Norm?, heads: Int) {
    if norm == nil && positions == nil { return }
    let (run, positions, places, headDim) = (run, positions, places, headDim)
    // Nothing in it can fail.
    try? team.forEachPart(of: &rows, rowLength: heads * headDim) { part, range in
      if let norm { norm.kind.apply(inPlace: &part, weights: norm.weights.span) }
      positions?.turn(
        &part, heads: heads, headDim: headDim, positions: run.slice(range).map { places[0, $0] })
    }
  }
}
