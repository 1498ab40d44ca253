public import Compute

/// ETC's labels: `f(s) = s + scale · (q_i · a_l + c_l)` for the label l of a pair, `f′(s) = 1`.
///
/// Keys and biases of labels are learned, for each head, and others for the rows of global tokens.
/// What a label adds to the scores of a query is the same for all of its keys, so that it is found
/// once for each query and label, and scores look it up.
///
/// Cost: a number looked up for each score near the diagonal, and one for each vector further away.
///
/// Source: Ainslie et al. 2020, ETC, section 3.2.1; Shaw et al. 2018, Self-Attention with Relative
/// Position Representations.
public struct LabelBias: ScoreRule {
  /// What is here; of several that have a pair the first is asked.
  public let parts: [LabelPart]

  /// Takes what is here.
  public init(_ parts: [LabelPart]) { self.parts = parts }

  /// Scores are shifted alone.
  public var isShift: Bool { true }

  /// Whether they are kept.
  public var takesGradients: Bool { parts.contains { $0.collectsGradients } }

  /// Adds a term to each score.
  public func change(
    _ scores: Vector, at place: ScorePlace
  ) -> (score: Vector, slope: Vector) {
    let part = part(of: place)
    var terms = Vector()
    for lane in 0..<place.count { terms[lane] = part.term(place, lane: lane) }
    return (scores + terms, Vector(repeating: 1))
  }

  /// Adds terms to the scores of a tile.
  public func apply(to tile: ScoreTile) {
    tile.fillSlopes()
    part(of: tile.first).add(to: tile)
  }

  /// Keeps the gradients of a tile's scores.
  public func takeGradients(_ tile: ScoreTile) {
    parts.first { $0.collectsGradients }?.keep(tile)
  }

  private func part(of place: ScorePlace) -> LabelPart {
    guard let part = parts.first(where: { $0.has(place) }) else {
      preconditionFailure("a pair that no part of the labels has")
    }
    return part
  }
}
