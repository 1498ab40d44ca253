import Attention
import AttentionReference
import Synchronization
import Tensors
import Testing

/// A mask that is another one in each sequence and for each head: stretches whose lengths depend on
/// both, one in three of which sees nothing, with a causal mask in every other head.
private struct VariedMask: AttentionPattern {
  let (batch, heads): (Int, Int)
  var dependsOnBatch: Bool { true }
  var dependsOnHead: Bool { true }

  func sees(_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Bool {
    let length = 70 + 40 * b + 10 * h
    return i / length == j / length && (i / length + b + h) % 3 != 2 && (h % 2 == 0 || j <= i)
  }

  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    var found: Set<Coverage> = []
    for b in 0..<batch {
      for h in 0..<heads {
        found.insert(coverage(keys: keys, queries: queries, batch: b, head: h))
      }
    }
    return found.count == 1 ? found.first ?? .none : .some
  }

  func coverage(keys: PositionRange, queries: PositionRange, batch: Int, head: Int) -> Coverage {
    let seen = visible(keys, queries, batch, head)
    return seen == 0 ? .none : seen == keys.count * queries.count ? .all : .some
  }

  private func visible(
    _ keys: PositionRange, _ queries: PositionRange, _ batch: Int, _ head: Int
  ) -> Int {
    var seen = 0
    for i in queries { for j in keys where sees(batch, i, j, head) { seen += 1 } }
    return seen
  }

  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    var element = 0
    for i in queries {
      for j in keys {
        bias[element] = sees(batch, i, j, head) ? 0 : -.infinity
        element += 1
      }
    }
  }
}

@Suite("Masks that differ from sequence to sequence and from head to head")
struct SharpCoverageTests {
  private let mask = VariedMask(batch: 2, heads: 4)
  private let problem = Problem(
    batch: 2, tokens: 400, queryHeads: 4, kvHeads: 2, headDim: 20, valueHeadDim: 12)

  private func bias(_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double {
    mask.sees(b, i, j, h) ? 0 : -.infinity
  }

  private func expected(
    _ problem: Problem
  ) -> (o: [Double], lse: [Double], dq: [Double], dk: [Double], dv: [Double]) {
    let offset = problem.keyTokens - problem.tokens
    let (q, k, v) = (
      problem.q.map(Double.init), problem.k.map(Double.init), problem.v.map(Double.init)
    )
    func moved(_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double { bias(b, i + offset, j, h) }
    let (o, lse) = problem.oracle(q: q, k: k, v: v, bias: moved)
    let (dq, dk, dv) = problem.oracle.gradients(
      q: q, k: k, v: v, outputGradient: problem.outputGradient.map(Double.init), bias: moved)
    return (o, lse, dq, dk, dv)
  }

  @Test("both passes, fast and reproducible, agree with the oracle")
  func passes() {
    let expected = expected(problem)
    let forward = problem.computed(pattern: mask, threads: 2)
    #expect(relativeError(forward.o, expected.o) < 1e-5)
    #expect(relativeError(forward.lse, expected.lse) < 1e-5)
    let backward = problem.computedGradients(pattern: mask, threads: 2)
    #expect(relativeError(backward.dq, expected.dq) < 1e-5)
    #expect(relativeError(backward.dk, expected.dk) < 1e-5)
    #expect(relativeError(backward.dv, expected.dv) < 1e-5)
    let reproducible = problem.results(mask)
    #expect(relativeError(reproducible.o, expected.o) < 1e-5)
    #expect(relativeError(reproducible.dq, expected.dq) < 1e-5)
    #expect(relativeError(reproducible.dk, expected.dk) < 1e-5)
    #expect(relativeError(reproducible.dv, expected.dv) < 1e-5)
  }

  @Test("few rows, of heads of which some see nothing")
  func fewRows() {
    // Of these three in the first sequence, heads 0 and 3 see something.
    for last in [150, 215, 400] {
      let problem = Problem(
        batch: 2, tokens: 3, keyTokens: last, queryHeads: 4, kvHeads: 2, headDim: 20,
        valueHeadDim: 12)
      let expected = expected(problem)
      let moved = MovedQueries(pattern: mask, by: last - 3)
      let forward = problem.computed(pattern: moved, threads: 2)
      #expect(relativeError(forward.o, expected.o) < 1e-5)
      #expect(relativeError(forward.lse, expected.lse) < 1e-5)
    }
  }

  @Test("what one head of one sequence does not see is not computed")
  func computed() {
    // Tiles are whole, so that what is computed is counted exactly: each head of each sequence sees
    // one tile of keys.
    let own = OwnTile(heads: 4)
    let problem = Problem(batch: 2, tokens: 144, keyTokens: 1536, queryHeads: 4, headDim: 8)
    let scores = Mutex(0)
    _ = problem.computed(pattern: own) { count in scores.withLock { $0 += count } }
    #expect(scores.withLock { $0 } == 2 * 4 * 144 * 192)
  }

  @Test("pairs are counted for each sequence and each head")
  func pairs() {
    let all = PositionRange(0..<400)
    var count = 0
    for b in 0..<2 {
      for h in 0..<4 {
        for i in all { for j in all where mask.sees(b, i, j, h) { count += 1 } }
      }
    }
    #expect(mask.visiblePairs(keys: [all], queries: [all], shape: problem.shape) == count)
    let causal = CausalPattern()
    #expect(
      causal.visiblePairs(keys: [all], queries: [all], shape: problem.shape)
        == 2 * 4 * 400 * 401 / 2)
    // Laid over another mask it is still counted so.
    let both = IntersectedPattern([mask, causal])
    let alone = UnitedPattern([mask, mask])
    #expect(both.dependsOnBatch && both.dependsOnHead)
    #expect(alone.visiblePairs(keys: [all], queries: [all], shape: problem.shape) == count)
    #expect(both.visiblePairs(keys: [all], queries: [all], shape: problem.shape) < count)
  }
}

/// A pattern whose queries stand further on.
private struct MovedQueries: AttentionPattern {
  let pattern: VariedMask
  let distance: Int

  init(pattern: VariedMask, by distance: Int) {
    self.pattern = pattern
    self.distance = distance
  }

  var dependsOnBatch: Bool { true }
  var dependsOnHead: Bool { true }

  private func moved(_ queries: PositionRange) -> PositionRange {
    PositionRange(
      start: queries.start + distance, stride: queries.stride, count: queries.count)
  }

  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    pattern.coverage(keys: keys, queries: moved(queries))
  }

  func coverage(keys: PositionRange, queries: PositionRange, batch: Int, head: Int) -> Coverage {
    pattern.coverage(keys: keys, queries: moved(queries), batch: batch, head: head)
  }

  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    pattern.fill(&bias, keys: keys, queries: moved(queries), batch: batch, head: head)
  }
}

/// Each head of each sequence sees 192 keys of its own.
private struct OwnTile: AttentionPattern {
  let heads: Int
  var dependsOnBatch: Bool { true }
  var dependsOnHead: Bool { true }

  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    keys.isEmpty || queries.isEmpty ? .none : .some
  }

  func coverage(keys: PositionRange, queries: PositionRange, batch: Int, head: Int) -> Coverage {
    guard let first = keys.first, let last = keys.last else { return .none }
    let own = (batch * heads + head) * 192..<(batch * heads + head + 1) * 192
    if own.contains(first) && own.contains(last) { return .all }
    return first < own.upperBound && last >= own.lowerBound ? .some : .none
  }

  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    for (column, key) in keys.enumerated() {
      for row in 0..<queries.count {
        bias[row * keys.count + column] =
          key / 192 == batch * heads + head ? 0 : -.infinity
      }
    }
  }
}
