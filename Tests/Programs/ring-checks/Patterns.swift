import Attention
import Tensors

/// A mask given by a predicate, which knows its coverage only by trying every pair.
struct PredicateMask: AttentionPattern {
  let name: String
  let sees: @Sendable (_ query: Int, _ key: Int) -> Bool

  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    var seen = 0
    for i in queries { for j in keys where sees(i, j) { seen += 1 } }
    return seen == 0 ? .none : seen == keys.count * queries.count ? .all : .some
  }

  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, head: Int
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

/// The masks of the test protocol: each as the kernels see it, and as the oracle does.
struct MaskCase {
  let name: String
  let pattern: any AttentionPattern
  let sees: @Sendable (_ query: Int, _ key: Int) -> Bool

  init(_ name: String, _ sees: @escaping @Sendable (_ query: Int, _ key: Int) -> Bool) {
    self.name = name
    self.sees = sees
    pattern = PredicateMask(name: name, sees: sees)
  }

  init(
    _ name: String, _ pattern: any AttentionPattern,
    _ sees: @escaping @Sendable (_ query: Int, _ key: Int) -> Bool
  ) {
    self.name = name
    self.sees = sees
    self.pattern = pattern
  }

  static func all(tokens: Int, keyTokens: Int) -> [MaskCase] {
    let offset = keyTokens - tokens
    let valid = (3 * keyTokens + 3) / 4
    return [
      MaskCase("full", FullPattern()) { _, _ in true },
      MaskCase("causal", CausalPattern(offset: offset)) { $1 <= $0 + offset },
      MaskCase("dead rows") { i, j in i % 3 != 1 && j <= i + offset },
      MaskCase("padded") { _, j in j < valid },
      MaskCase("packed") { i, j in i / 10 == j / 10 && j <= i },
    ]
  }
}
