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

/// A query sees itself, the keys before it in a window, and the first keys.
struct SinkWindow: AttentionPattern {
  let width: Int
  let sinks: Int

  func sees(_ query: Int, _ key: Int) -> Bool {
    key <= query && (key > query - width || key < sinks)
  }

  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    guard let firstKey = keys.first, let lastKey = keys.last, let first = queries.first,
      let last = queries.last
    else { return .none }
    if firstKey > last || lastKey <= first - width && firstKey >= sinks { return .none }
    return lastKey <= first && (firstKey > last - width || lastKey < sinks) ? .all : .some
  }

  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, head: Int
  ) {
    for (row, query) in queries.enumerated() {
      for (column, key) in keys.enumerated() {
        bias[row * keys.count + column] = sees(query, key) ? 0 : -.infinity
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
