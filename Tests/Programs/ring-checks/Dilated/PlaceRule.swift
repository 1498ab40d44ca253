import Attention
import AttentionReference

/// A bias that depends on everything that a rule is told, and on nothing smoothly.
struct PlaceRule: ScoreRule {
  var isShift: Bool { true }

  func change(_ scores: Vector, at place: ScorePlace) -> (score: Vector, slope: Vector) {
    let first = 7 * place.batch + 5 * place.head + 3 * place.query
    var bias = Vector()
    for lane in 0..<place.count {
      bias[lane] = Float((first + place.firstKey + lane * place.keyStride) % 11) / 8
    }
    return (scores + bias, Vector(repeating: 1))
  }
}

/// Its twin.
struct ReferencePlaceRule: ReferenceScoreRule {
  func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    let place: Int = batch * 7 + head * 5 + query * 3 + key
    return s + Double(place % 11) * 0.125
  }

  func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double { 1 }
}
