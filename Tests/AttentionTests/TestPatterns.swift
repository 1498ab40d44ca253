import Attention
import Tensors

/// ALiBi on top of a causal mask: a pattern that adds to every score.
struct LinearBias: AttentionPattern {
  let causal = CausalPattern()
  var hasBias: Bool { true }

  static func slope(_ head: Int) -> Float { head == 0 ? 0.5 : 0.125 }

  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    causal.coverage(keys: keys, queries: queries)
  }

  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    var element = 0
    for i in queries {
      for j in keys {
        bias[element] = j <= i ? -Self.slope(head) * Float(i - j) : -.infinity
        element += 1
      }
    }
  }
}

/// A mask given by a predicate.
struct PredicateMask: AttentionPattern {
  /// Whether coverage is found out by trying every pair, or always left open.
  let knowsCoverage: Bool
  let sees: @Sendable (_ query: Int, _ key: Int) -> Bool

  /// A mask without structure, in which some rows see nothing.
  static let scattered = PredicateMask(knowsCoverage: false) { i, j in
    i % 7 != 3 && (i * 31 + j * 17) % 5 < 2
  }

  /// The first keys and the latest ones, with a hidden stretch between them, wider than a panel.
  static let sinkAndWindow = PredicateMask(knowsCoverage: true) { i, j in
    j <= i && (j < 4 || i - j < 20)
  }

  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    guard knowsCoverage else { return .some }
    var seen = 0
    for i in queries { for j in keys where sees(i, j) { seen += 1 } }
    return seen == 0 ? .none : seen == keys.count * queries.count ? .all : .some
  }

  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    var element = 0
    for i in queries {
      for j in keys {
        bias[element] = sees(i, j) ? 0 : -.infinity
        element += 1
      }
    }
  }
}
