import Attention
import LongNet
import Sharding
import Testing

@Suite("Dilated attention that cannot be described")
struct DilatedProblemTests {
  private static let (million, long, huge) = (1 << 20, 1 << 40, 1 << 60)
  private static let uncountable: [(Int, [(Int, Int)])] = [
    (long, [(long, 1)]), (long, [(8, 1), (Int.max, 1)]), (huge, [(1, 1)]),
    (huge, [(huge, 1 << 31)]),
  ]
  private static let large: [(Int, [(Int, Int)])] = [
    (0, [(8, 1)]), (256 * million, [(256 * million, 1)]), (long, [(long, 1 << 31)]),
    (1000, [(Int.max, Int.max)]),
  ]

  private let shape = AttentionShape(
    batch: 2, queryHeads: 4, kvHeads: 2, headDim: 16, valueHeadDim: 8)

  private func problem(
    _ branches: [(Int, Int)], tokens: Int
  ) throws(DilatedProblemError) -> ShardedDilatedAttention {
    try ShardedDilatedAttention(
      shape: shape, sharding: Sharding(.contiguous, tokens: tokens, ranks: 3),
      branches: branches.map { DilatedBranch(segmentLength: $0.0, dilationRate: $0.1) },
      isCausal: false)
  }

  @Test("A problem has a branch")
  func noBranches() {
    #expect {
      try problem([], tokens: 100)
    } throws: {
      "\($0)".contains("give at least one")
    }
    #expect {
      try StreamedDilatedAttention(
        shape: shape, tokens: 100, branches: [], isCausal: true, windowTokens: 10)
    } throws: {
      "\($0)".contains("give at least one")
    }
  }

  @Test("Pairs and bytes that an integer cannot count are refused", arguments: uncountable)
  func tooMany(tokens: Int, branches: [(Int, Int)]) {
    #expect {
      try problem(branches, tokens: tokens)
    } throws: {
      "\($0)".contains("than can be counted")
    }
  }

  @Test("What can be counted is, however large", arguments: large)
  func countable(tokens: Int, branches: [(Int, Int)]) throws {
    let problem = try problem(branches, tokens: tokens)
    for placement in Placement.allCases {
      let plan = DilatedPlan(problem, placement: placement)
      let pairs = (0..<3).map { plan.pairs(rank: $0) }
      // Two heads and two offsets, or one and none, in each of two sequences.
      let (length, rate) = (min(branches[0].0, tokens), branches[0].1)
      let expected = (0..<4).reduce(0) { sum, head in
        let offset = head % rate
        let rows = offset < length ? (length - offset - 1) / rate + 1 : 0
        return sum + 2 * rows * rows
      }
      #expect(pairs.reduce(0, +) == expected, "\(placement)")
      for pass in [plan.forwardOutward, plan.backwardOutward] {
        #expect(plan.bytesSent(by: 1, outward: pass, homeward: plan.backwardHomeward) >= 0)
      }
    }
    #expect(problem.residentBytes(rank: 0, gradients: true) > 0)
  }

  @Test("Windows have tokens, and their pairs can be counted")
  func windows() {
    func stream(_ windowTokens: Int, tokens: Int) throws {
      _ = try StreamedDilatedAttention(
        shape: shape, tokens: tokens,
        branches: [DilatedBranch(segmentLength: tokens, dilationRate: 1)], isCausal: true,
        windowTokens: windowTokens)
    }
    #expect {
      try stream(0, tokens: 100)
    } throws: {
      "\($0)".contains("give it at least one")
    }
    #expect {
      try stream(1 << 40, tokens: 1 << 40)
    } throws: {
      "\($0)".contains("make it shorter")
    }
    #expect(throws: Never.self) { try stream(1 << 17, tokens: 1 << 40) }
  }
}
