import Attention
import Tensors

/// What is done to the heads of queries and keys of some tokens before they meet.
struct Turning {
  /// Nil where positions turn nothing.
  let positions: RotaryPositions?
  /// Where the tokens stand.
  let places: [Int]
  let headDim: Int
  let team: ThreadTeam

  /// Normalises heads, if that is done, and turns them by their positions.
  ///
  /// - Parameter rows: `[places.count, heads, headDim]`.
  func turn(_ rows: inout MutableSpan<Float>, norm: Norm?, heads: Int) {
    if norm == nil && positions == nil { return }
    let (positions, places, headDim) = (positions, places, headDim)
    // Nothing in it can fail.
    try? team.forEachPart(of: &rows, rowLength: heads * headDim) { part, range in
      if let norm { norm.kind.apply(inPlace: &part, weights: norm.weights.span) }
      positions?.turn(&part, heads: heads, headDim: headDim, positions: places[range])
    }
  }
}
