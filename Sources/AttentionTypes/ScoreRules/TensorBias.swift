public import Compute

/// A bias for each pair of a query and a key: `f(s) = s + b_ij`, `f′(s) = 1`.
///
/// The tensor has as many numbers as there are scores; a process holds those that it meets, in
/// ``BiasPart``s. Its gradient is that of the scores, `db_ij = p_ij (do_i·v_j − Δ_i)`, which the
/// backward pass hands over tile by tile.
///
/// Cost: one number read and a multiply–add for each score.
public struct TensorBias: ScoreRule {
  /// What is here; of several that have a pair the first is asked.
  public let parts: [BiasPart]

  /// Takes what is here.
  public init(_ parts: [BiasPart]) { self.parts = parts }

  /// Scores are shifted alone.
  public var isShift: Bool { true }

  /// Whether some part collects them.
  public var takesGradients: Bool { parts.contains { $0.collectsGradients } }

  /// Adds a number to each score.
  public func change(
    _ scores: Vector, at place: ScorePlace
  ) -> (score: Vector, slope: Vector) {
    var biases = Vector()
    for lane in 0..<place.count {
      var one = place
      one.firstKey += lane * place.keyStride
      let rows = part(of: one, where: { _ in true }).rows(of: one, queryStride: 1)
      biases[lane] = rows.values[rows.first]
    }
    return (scores + biases, Vector(repeating: 1))
  }

  /// Adds rows of the tensor to those of a tile.
  public func apply(to tile: ScoreTile) {
    tile.fillSlopes()
    // Scores are in base 2.
    let toBase2 = Vector(repeating: 1.442_695_04)
    let part = part(of: tile.first) { _ in true }
    let rows = part.rows(of: tile.first, queryStride: tile.queryStride)
    for row in 0..<tile.rows {
      let first = rows.first + row * rows.rowStep
      let scores = unsafe tile.scores + row * tile.stride
      var column = 0
      while column < tile.first.count {
        let bias = part.vector(
          at: first + column * rows.columnStep, step: rows.columnStep,
          count: tile.first.count - column)
        unsafe Vector(loading: scores, at: column).addingProduct(bias, toBase2)
          .store(to: scores, at: column)
        column += Vector.width
      }
    }
  }

  /// Keeps the gradients of a tile's scores.
  public func takeGradients(_ tile: ScoreTile) {
    let part = part(of: tile.first) { $0.collectsGradients }
    let rows = part.rows(of: tile.first, queryStride: tile.queryStride)
    for row in 0..<tile.rows {
      unsafe part.setGradients(
        tile.scores + row * tile.stride, batch: tile.first.batch, head: tile.first.head,
        offset: rows.offset + row * rows.rowStep, step: rows.columnStep, count: tile.first.count)
    }
  }

  private func part(of place: ScorePlace, where isMeant: (BiasPart) -> Bool) -> BiasPart {
    guard let part = parts.first(where: { isMeant($0) && $0.has(place) }) else {
      preconditionFailure("a pair that no part of the bias has")
    }
    return part
  }
}
