import AttentionTypes
import Tensors

extension ForwardTile {
  /// Factors from a row of packed queries to the next of its group.
  @inline(__always)
  var rowStride: Int {
    Element.stepRun == 1 ? Element.steps(of: headDim) : Element.stepRun
  }

  /// Factors from a run of a row of packed queries to the next.
  @inline(__always)
  var runStride: Int { Element.stepRun == 1 ? 1 : Element.groupRows * Element.stepRun }

  /// Takes up the queries of `rows` rows.
  ///
  /// - Parameter scale: multiplies the scores, with log₂e folded in.
  @unsafe
  mutating func load(
    queries source: UnsafePointer<Float>, stride: Int, rows: Int, scale: Float
  ) {
    results.rows = rows
    let (height, run, depth) = (Element.groupRows, Element.stepRun, Element.depth)
    let steps = Element.steps(of: headDim)
    /// Where a factor lies from the first of its row on.
    func place(_ step: Int) -> Int { step / run * runStride + step % run }
    scoreScale = Element.scalesScores ? scale : 1
    let queryScale = Element.scalesScores ? 1 : scale
    // Two vectors of numbers are neighbouring factors, of one run where there are runs.
    let length = 2 * Vector.width
    let whole = headDim / length * length
    for row in 0..<groups * height {
      let target =
        unsafe queries.unsafeBaseAddress + row / height * height * steps + row % height * rowStride
      if row >= rows {
        for step in 0..<steps { unsafe target[place(step)] = .zero }
        continue
      }
      let own = unsafe source + row * stride
      if row + RowsAhead.distance < rows {
        unsafe RowsAhead.ask(for: own + RowsAhead.distance * stride, columns: headDim)
      }
      for first in Swift.stride(from: 0, to: whole, by: length) {
        unsafe Element.store(
          (
            Vector(loading: own, at: first) * queryScale,
            Vector(loading: own, at: first + Vector.width) * queryScale
          ), to: target + place(first / depth))
      }
      for first in Swift.stride(from: whole, to: headDim, by: depth) {
        unsafe target[place(first / depth)] = Element.factor(
          of: own + first, stride: 1, count: min(depth, headDim - first)
        ) { _ in queryScale }
      }
      for step in (headDim + depth - 1) / depth..<steps { unsafe target[place(step)] = .zero }
    }
  }
}
