import Attention
import Tensors
import Testing

@Suite("Patterns")
struct PatternTests {
  @Test func biasIsAddedToEveryScore() {
    let problem = Problem(tokens: 310, queryHeads: 2, kvHeads: 1, headDim: 16)
    let result = problem.computed(pattern: LinearBias())
    let expected = problem.expected { i, j, h in
      j <= i ? -Double(LinearBias.slope(h)) * Double(i - j) : -.infinity
    }
    #expect(relativeError(result.o, expected.o) < 1e-5)
    #expect(relativeError(result.lse, expected.lse) < 1e-5)
  }

  @Test func scatteredMaskWithDeadRows() {
    let problem = Problem(tokens: 275, headDim: 16)
    let result = problem.computed(pattern: PredicateMask.scattered)
    let expected = problem.expected { i, j, _ in PredicateMask.scattered.sees(i, j) ? 0 : -.infinity
    }
    #expect(relativeError(result.o, expected.o) < 1e-5)
    #expect(relativeError(result.lse, expected.lse) < 1e-5)
    #expect(result.lse[3] == -.infinity)
    #expect(result.o[3 * 16..<4 * 16].allSatisfy { $0 == 0 })
  }

  @Test func hiddenStretchWithinATile() {
    let problem = Problem(tokens: 275, headDim: 16)
    let result = problem.computed(pattern: PredicateMask.sinkAndWindow)
    let expected = problem.expected { i, j, _ in
      PredicateMask.sinkAndWindow.sees(i, j) ? 0 : -.infinity
    }
    #expect(relativeError(result.o, expected.o) < 1e-5)
    #expect(relativeError(result.lse, expected.lse) < 1e-5)
  }

  @Test(
    "coverage, bias and count of the causal mask agree with its definition",
    arguments: [-7, -1, 0, 1, 5])
  func causal(offset: Int) {
    let pattern = CausalPattern(offset: offset)
    let ranges = [
      PositionRange(0..<0), PositionRange(0..<1), PositionRange(3..<9),
      PositionRange(start: 1, stride: 4, count: 5), PositionRange(start: 2, stride: 3, count: 6),
      PositionRange(9..<14),
    ]
    for keys in ranges {
      for queries in ranges {
        let visible = queries.flatMap { i in keys.map { $0 <= i + offset } }
        let count = visible.filter { $0 }.count
        switch pattern.coverage(keys: keys, queries: queries) {
        case .none: #expect(count == 0)
        case .all: #expect(count == visible.count && count > 0)
        case .some: #expect(count > 0 && count < visible.count)
        }
        #expect(pattern.visiblePairs(keys: keys, queries: queries) == count)
        #expect(pattern.reaches(keys: [keys], queries: [queries]) == (count > 0))
        var bias = [Float](repeating: .nan, count: visible.count)
        var span = bias.mutableSpan
        pattern.fill(&span, keys: keys, queries: queries, batch: 0, head: 0)
        #expect(bias == visible.map { $0 ? 0 : -.infinity })
      }
    }
  }

  @Test func countingWorksForAnyPattern() {
    let keys = PositionRange(0..<40)
    let queries = PositionRange(start: 2, stride: 3, count: 11)
    let visible = queries.reduce(0) { sum, i in
      sum + keys.filter { PredicateMask.scattered.sees(i, $0) }.count
    }
    #expect(PredicateMask.scattered.visiblePairs(keys: [keys], queries: [queries]) == visible)
  }
}
