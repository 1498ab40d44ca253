import Attention
import AttentionReference

/// A bias that depends on everything that a rule is told:
/// `s − slope_h |i − j| + batch / 4 · (j mod 3)`.
struct PlaceRule: ScoreRule {
  static func slope(_ head: Int) -> Float { head == 0 ? 0.25 : 0.0625 }

  func change(_ scores: Vector, at place: ScorePlace) -> (score: Vector, slope: Vector) {
    let distances = place.distances
    var bias = Vector()
    for lane in 0..<place.count {
      let key = place.firstKey + lane * place.keyStride
      precondition(distances[lane] == Float(place.query - key))
      bias[lane] =
        Float(place.batch) / 4 * Float(key % 3)
        - Self.slope(place.head) * abs(distances[lane])
    }
    return (scores + bias, Vector(repeating: 1))
  }
}

/// Its twin.
struct ReferencePlaceRule: ReferenceScoreRule {
  func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    let slope = head == 0 ? 0.25 : 0.0625
    return s - slope * Double(abs(query - key)) + Double(batch) / 4 * Double(key % 3)
  }

  func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double { 1 }
}

/// The place rule on capped scores.
struct ReferenceCappedPlaceRule: ReferenceScoreRule {
  let cap: ReferenceSoftCap

  func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    ReferencePlaceRule().score(
      cap.score(s, batch: batch, query: query, key: key, head: head), batch: batch, query: query,
      key: key, head: head)
  }

  func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    cap.slope(s, batch: batch, query: query, key: key, head: head)
  }
}

/// Negative scores are cut in half: the derivative is different from key to key.
struct LeakyRule: ScoreRule {
  func change(_ scores: Vector, at place: ScorePlace) -> (score: Vector, slope: Vector) {
    let slope = Vector(repeating: 1).replacing(with: Vector(repeating: 0.5), where: scores .< 0)
    return (scores * slope, slope)
  }
}

/// Its twin.
struct ReferenceLeakyRule: ReferenceScoreRule {
  func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    s < 0 ? s / 2 : s
  }

  func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double { s < 0 ? 0.5 : 1 }
}
