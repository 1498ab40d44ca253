import Attention
import Tensors
import Testing

@Suite("Blockwise forward against the oracle")
struct ForwardTests {
  private func causalBias(_ offset: Int) -> (Int, Int, Int) -> Double {
    { i, j, _ in j <= i + offset ? 0 : -.infinity }
  }

  @Test(
    "any head dim, causal and full",
    arguments: [
      1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 33, 40, 64, 80, 96, 100, 128, 192, 255, 256, 257, 320, 512,
      575, 576,
    ])
  func headDims(headDim: Int) {
    let problem = Problem(tokens: 53, headDim: headDim)
    let full = problem.computed(pattern: FullPattern())
    let fullExpected = problem.expected { _, _, _ in 0 }
    #expect(relativeError(full.o, fullExpected.o) < 1e-5)
    #expect(relativeError(full.lse, fullExpected.lse) < 1e-5)
    let causal = problem.computed(pattern: CausalPattern())
    let causalExpected = problem.expected(bias: causalBias(0))
    #expect(relativeError(causal.o, causalExpected.o) < 1e-5)
    #expect(relativeError(causal.lse, causalExpected.lse) < 1e-5)
  }

  @Test(
    "sizes around every tile edge",
    arguments: [1, 2, 5, 6, 7, 15, 16, 17, 31, 32, 33, 143, 144, 145, 191, 192, 193, 300, 531])
  func tokenCounts(tokens: Int) {
    let problem = Problem(tokens: tokens, headDim: 20, valueHeadDim: 12)
    let causal = problem.computed(pattern: CausalPattern())
    let expected = problem.expected(bias: causalBias(0))
    #expect(relativeError(causal.o, expected.o) < 1e-5)
    #expect(relativeError(causal.lse, expected.lse) < 1e-5)
  }

  @Test(
    "value head dim differs from head dim",
    arguments: [
      (1, 256), (256, 1), (64, 40), (24, 100), (5, 16), (576, 512), (576, 1), (1, 576), (300, 500),
    ])
  func valueHeadDims(headDim: Int, valueHeadDim: Int) {
    let problem = Problem(tokens: 70, headDim: headDim, valueHeadDim: valueHeadDim)
    let result = problem.computed(pattern: FullPattern())
    let expected = problem.expected { _, _, _ in 0 }
    #expect(relativeError(result.o, expected.o) < 1e-5)
    #expect(relativeError(result.lse, expected.lse) < 1e-5)
  }

  @Test("grouped-query attention and batches", arguments: [(1, 1), (4, 4), (4, 2), (6, 1), (6, 3)])
  func heads(queryHeads: Int, kvHeads: Int) {
    let problem = Problem(
      batch: 3, tokens: 41, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 18)
    let result = problem.computed(pattern: CausalPattern())
    let expected = problem.expected(bias: causalBias(0))
    #expect(relativeError(result.o, expected.o) < 1e-5)
    #expect(relativeError(result.lse, expected.lse) < 1e-5)
  }

  @Test(
    "causal is aligned at the bottom right", arguments: [(5, 300), (300, 5), (1, 400), (64, 0)])
  func keyCounts(tokens: Int, keyTokens: Int) {
    let problem = Problem(tokens: tokens, keyTokens: keyTokens, headDim: 16)
    let offset = keyTokens - tokens
    let result = problem.computed(pattern: CausalPattern(offset: offset))
    let expected = problem.expected(bias: causalBias(offset))
    #expect(relativeError(result.o, expected.o) < 1e-5)
    #expect(relativeError(result.lse, expected.lse) < 1e-5)
    if offset < 0 {
      #expect(result.lse[..<(-offset)].allSatisfy { $0 == -.infinity })
      #expect(result.o[..<(-offset * 16)].allSatisfy { $0 == 0 })
    }
  }

  @Test("logits a hundred times larger")
  func largeLogits() {
    let problem = Problem(tokens: 333, headDim: 64, logits: 100)
    let result = problem.computed(pattern: CausalPattern())
    let expected = problem.expected(bias: causalBias(0))
    let largest = expected.lse.map { abs($0) }.max() ?? 0
    // Rounding of the scores themselves moves the weights by this much.
    let tolerance = largest * 0x1p-24 * 4
    #expect(largest > 500)
    #expect(relativeError(result.o, expected.o) < tolerance)
    #expect(relativeError(result.lse, expected.lse) < 1e-5)
  }

  @Test("blocks in any order, runs of any stride, empty blocks")
  func blocks() {
    let problem = Problem(batch: 2, tokens: 301, queryHeads: 2, kvHeads: 1, headDim: 24)
    let expected = problem.expected(bias: causalBias(0))
    let zigzag = [
      [PositionRange(250..<301), PositionRange(0..<50)], [],
      [PositionRange(50..<100), PositionRange(200..<250)], [PositionRange(100..<200)],
    ]
    let striped = (0..<4).map {
      [PositionRange(start: $0, stride: 4, count: (301 - $0 + 3) / 4)]
    }
    for blocks in [zigzag, striped, Array(striped.reversed())] {
      let result = problem.computed(
        pattern: CausalPattern(), queryRuns: blocks.flatMap { $0 }, blocks: blocks)
      #expect(relativeError(result.o, expected.o) < 1e-5)
      #expect(relativeError(result.lse, expected.lse) < 1e-5)
    }
  }

  @Test("narrow blocks equal wide blocks of rounded inputs, bit for bit")
  func narrowBlocks() {
    var problem = Problem(tokens: 290, headDim: 40)
    for elementType in [WireType.f16, .bf16] {
      let rounded: (Float) -> Float = {
        elementType == .f16 ? Float(Float16($0)) : Float(BFloat16($0))
      }
      problem.k = problem.k.map(rounded)
      problem.v = problem.v.map(rounded)
      let narrow = problem.computed(pattern: CausalPattern(), elementType: elementType)
      let wide = problem.computed(pattern: CausalPattern())
      #expect(narrow.o == wide.o)
      #expect(narrow.lse == wide.lse)
    }
  }

  @Test("the same bits for any number of threads", arguments: [2, 3, 8])
  func threads(threads: Int) {
    let problem = Problem(batch: 2, tokens: 400, queryHeads: 4, kvHeads: 2, headDim: 32)
    let one = problem.computed(pattern: CausalPattern())
    let many = problem.computed(pattern: CausalPattern(), threads: threads)
    #expect(one.o == many.o)
    #expect(one.lse == many.lse)
  }

  @Test("polls between tiles")
  func polls() {
    let problem = Problem(tokens: 600, headDim: 8)
    var polls = 0
    _ = problem.computed(pattern: FullPattern(), poll: { _ in polls += 1 })
    // ⌈600/288⌉ tiles of queries, or more, × ⌈600/192⌉ tiles of keys.
    #expect(polls >= 3 * 4)
  }

  @Test("nothing hidden is computed")
  func hiddenTilesAreSkipped() {
    let problem = Problem(tokens: 1440, headDim: 8)
    var fullPolls = 0
    var causalPolls = 0
    _ = problem.computed(pattern: FullPattern(), poll: { _ in fullPolls += 1 })
    _ = problem.computed(pattern: CausalPattern(), poll: { _ in causalPolls += 1 })
    // Tiles have 288 queries, or 144 with vectors of 8.
    #expect([5 * 8, 10 * 8].contains(fullPolls))
    let tiles = fullPolls / 8
    let rows = problem.tokens / tiles
    // Tile t of them sees ⌈rows (t+1)/192⌉ tiles of keys.
    #expect(causalPolls == (0..<tiles).reduce(0) { $0 + (rows * ($1 + 1) + 191) / 192 })
  }
}
