import Attention
import Sharding
import Tensors
import Testing

/// Everything that attention gives, in the order of global positions.
struct Results {
  var o: [Float]
  var lse: [Float]
  var dq: [Float]
  var dk: [Float]
  var dv: [Float]

  /// All bits.
  var bits: [UInt32] { (o + lse + dq + dk + dv).map(\.bitPattern) }
}

extension Problem {
  /// What ranks that hold these shards would compute one after the other.
  ///
  /// Rank `r` takes blocks beginning with number `r + first`; a block's gradients go from rank to
  /// rank, at every other rank by way of an addition. Among several ranks, blocks are taken in two
  /// parts, the second first. Ranks use one instruction set after the other, beginning with number
  /// `first`.
  func results(
    _ pattern: any AttentionPattern, layout: Layout = .contiguous, ranks: Int = 1,
    first: Int = 0, threads: Int = 1, elementType: WireType = .f32,
    accumulation: Accumulation = .reproducible
  ) -> Results {
    let granularity = Accumulation.reproducible.granularity
    let shards = Sharding(layout, tokens: tokens, ranks: ranks, granularity: granularity).shards
    let keyShards =
      Sharding(layout, tokens: keyTokens, ranks: ranks, granularity: granularity).shards
    let team = ThreadTeam(threads: threads)
    let heads = shape.batch * shape.queryHeads
    var results = Results(
      o: nan(heads * tokens * shape.valueHeadDim), lse: nan(heads * tokens), dq: nan(q.count),
      dk: nan(k.count), dv: nan(v.count))
    let gradients = keyShards.map { runs in
      KeyValueGradientBox(
        KeyValueGradient(
          shape: shape, keys: runs.reduce(0) { $0 + $1.count }, accumulation: accumulation))
    }
    for (rank, runs) in shards.enumerated() {
      let queries = queryShard(runs: runs)
      let outputGradient = outputGradientShard(runs: runs)
      let order = (0..<ranks).map { (rank + first + $0) % ranks }
      // Ranks have different processors.
      let sets = InstructionSet.ofThisProcessor
      let instructions = sets[(rank + first) % sets.count]
      var forward = ForwardAccumulator(
        shape: shape, tokens: queries.tokens, scale: scale, pattern: pattern,
        scoreRule: scoreRule, accumulation: accumulation, arithmetic: arithmetic,
        instructions: instructions, team: team)
      for owner in order {
        forward.attend(
          queries, to: keyValueBlock(runs: keyShards[owner], elementType: elementType))
      }
      let output = forward.finish()
      var backward = BackwardAccumulator(
        shape: shape, output: output, outputGradient: outputGradient, scale: scale,
        pattern: pattern, scoreRule: scoreRule, accumulation: accumulation,
        arithmetic: arithmetic, instructions: instructions, team: team)
      for owner in order {
        let block = keyValueBlock(runs: keyShards[owner], elementType: elementType)
        if (rank + owner) % 2 == 0 {
          for part: BlockPart in ranks == 1 ? [.whole] : [.secondHalf, .firstHalf] {
            backward.attend(
              queries, outputGradient: outputGradient, to: block,
              addingTo: &gradients[owner].gradient, part: part)
          }
        } else {
          var gradient = KeyValueGradient(
            shape: shape, keys: block.keyCount, accumulation: accumulation)
          backward.attend(
            queries, outputGradient: outputGradient, to: block, addingTo: &gradient)
          gradients[owner].gradient.add(gradient)
        }
      }
      scatter(output.o, runs: runs, tokens: tokens, into: &results.o)
      scatter(
        Tensor(
          shape: [heads, queries.tokens, 1, 1],
          buffer: AlignedBuffer(copying: output.lse.span)),
        runs: runs, tokens: tokens, batch: heads, into: &results.lse)
      scatter(backward.finish(), runs: runs, tokens: tokens, into: &results.dq)
    }
    for (owner, runs) in keyShards.enumerated() {
      scatter(gradients[owner].gradient.dk(), runs: runs, tokens: keyTokens, into: &results.dk)
      scatter(gradients[owner].gradient.dv(), runs: runs, tokens: keyTokens, into: &results.dv)
    }
    return results
  }

  func nan(_ count: Int) -> [Float] { [Float](repeating: .nan, count: count) }

  /// Multiplies the rows of a tensor by powers of ten that change from token to token.
  static func spread(_ values: inout [Float], tokens: Int, from low: Int, to high: Int) {
    let width = values.count / tokens
    for index in values.indices {
      let power = low + (index / width * 7919) % (high - low + 1)
      values[index] *= (0..<abs(power)).reduce(1) { factor, _ in
        power < 0 ? factor / 10 : factor * 10
      }
    }
  }
}

/// A gradient that can be put in an array.
private final class KeyValueGradientBox {
  var gradient: KeyValueGradient

  init(_ gradient: consuming KeyValueGradient) { self.gradient = gradient }
}

private let rankCounts = [1, 2, 3, 5, 8]

@Suite("Reproducible sums: the same bits for every division")
struct ReproducibleTests {
  /// Compares one rank with one thread to everything else.
  private func expectSameBits(
    _ problem: Problem, _ pattern: any AttentionPattern, layouts: [Layout] = Layout.regular,
    ranks: [Int] = rankCounts, elementType: WireType = .f32,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let expected = problem.results(pattern, elementType: elementType)
    #expect(!expected.bits.contains(Float.nan.bitPattern), sourceLocation: sourceLocation)
    for layout in layouts {
      for ranks in ranks {
        let actual = problem.results(
          pattern, layout: layout, ranks: ranks, first: ranks / 2, threads: 1 + ranks % 3,
          elementType: elementType)
        for (name, a, b) in [
          ("o", actual.o, expected.o), ("lse", actual.lse, expected.lse),
          ("dq", actual.dq, expected.dq), ("dk", actual.dk, expected.dk),
          ("dv", actual.dv, expected.dv),
        ] {
          let differing = zip(a, b).count { $0.bitPattern != $1.bitPattern }
          #expect(
            differing == 0 && a.count == b.count,
            "\(name), \(layout), \(ranks) ranks: \(differing) of \(b.count) differ",
            sourceLocation: sourceLocation)
        }
      }
    }
  }

  @Test("layouts, ranks, orders and threads", arguments: Layout.regular)
  func divisions(layout: Layout) {
    let problem = Problem(tokens: 8 * 768 + 100, queryHeads: 2, kvHeads: 1, headDim: 24)
    expectSameBits(problem, CausalPattern(), layouts: [layout])
  }

  @Test("full attention, several sequences, a head dim that fills no panel")
  func full() {
    let problem = Problem(
      batch: 2, tokens: 1700, queryHeads: 4, kvHeads: 2, headDim: 20, valueHeadDim: 13)
    expectSameBits(problem, FullPattern())
  }

  @Test("rows without keys and keys without rows", arguments: [-900, -1, 400])
  func deadRows(offset: Int) {
    let problem = Problem(tokens: 1800, keyTokens: 2400, headDim: 16)
    expectSameBits(problem, CausalPattern(offset: offset))
  }

  @Test("biases and masks of any form")
  func patterns() {
    let problem = Problem(tokens: 1600, queryHeads: 2, kvHeads: 1, headDim: 8)
    expectSameBits(problem, LinearBias())
    expectSameBits(problem, PredicateMask.scattered, ranks: [3])
  }

  @Test("narrow blocks", arguments: [WireType.f16, .bf16, .int8])
  func narrowBlocks(elementType: WireType) {
    let problem = Problem(tokens: 2500, headDim: 40)
    expectSameBits(problem, CausalPattern(), ranks: [2, 3], elementType: elementType)
  }

  @Test("logits a hundred times larger")
  func largeLogits() {
    expectSameBits(Problem(tokens: 4000, headDim: 64, logits: 100), CausalPattern())
  }

  @Test("values and gradients from 1e-20 to 1e10")
  func magnitudes() {
    var problem = Problem(tokens: 4000, headDim: 16)
    Problem.spread(&problem.v, tokens: 4000, from: -20, to: 10)
    expectSameBits(problem, CausalPattern())
    Problem.spread(&problem.outputGradient, tokens: 4000, from: -20, to: 10)
    expectSameBits(problem, FullPattern())
  }

  @Test("scores that rise by many bins from leaf to leaf, or fall", arguments: [false, true])
  func rising(falls: Bool) {
    var problem = Problem(tokens: 4000, headDim: 16)
    for index in problem.k.indices {
      let leaf = index / 16 / 768
      // By 0.6, 6, 60, … bins.
      let factor = [1, 10, 100, 1000, 10_000, 100_000][falls ? 5 - leaf : leaf] as Float
      problem.k[index] *= factor
    }
    expectSameBits(problem, FullPattern(), layouts: [.contiguous, .striped])
  }

  @Test("queries of the forward pass may be any")
  func anyQueries() {
    let problem = Problem(tokens: 1700, headDim: 16)
    let expected = problem.results(CausalPattern())
    let blocks = Sharding(.striped, tokens: 1700, ranks: 2, granularity: 768).shards
    for stride in [1, 2, 7] {
      for offset in 0..<stride {
        let runs = [
          PositionRange(
            start: offset, stride: stride, count: (1700 - offset + stride - 1) / stride)
        ]
        expectForward(problem, runs[0], blocks: blocks, expected)
      }
    }
  }

  @Test("a few queries, which read keys and values in place", arguments: [WireType.f32, .int8])
  func fewQueries(elementType: WireType) {
    let problem = Problem(tokens: 1700, headDim: 32)
    let expected = problem.results(CausalPattern(), elementType: elementType)
    // Runs of several leaves, the second not at the start of its run.
    let blocks = [[PositionRange(1536..<1700)], [PositionRange(0..<1536)]]
    for count in 1...5 {
      for first in [0, 190, 766, 1000, 1535, 1695] {
        expectForward(
          problem, PositionRange(first..<first + count), blocks: blocks, expected,
          elementType: elementType)
      }
    }
  }

  /// Expects the rows of one run of queries of one head to be those of all queries together.
  private func expectForward(
    _ problem: Problem, _ run: PositionRange, blocks: [[PositionRange]], _ expected: Results,
    elementType: WireType = .f32, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    var forward = ForwardAccumulator(
      shape: problem.shape, tokens: run.count, scale: problem.scale,
      pattern: CausalPattern(), accumulation: .reproducible)
    for block in blocks {
      forward.attend(
        problem.queryShard(runs: [run]),
        to: problem.keyValueBlock(runs: block, elementType: elementType))
    }
    let output = forward.finish()
    let width = problem.shape.valueHeadDim
    for (row, position) in run.enumerated() {
      let same = (0..<width).allSatisfy {
        output.o.span[row * width + $0] == expected.o[position * width + $0]
      }
      #expect(
        same && output.lse.span[row] == expected.lse[position],
        "position \(position) of \(run.count)", sourceLocation: sourceLocation)
    }
  }

  @Test("shards that cut leaves are not accepted")
  func alignment() {
    let leaf = Accumulation.reproducible.granularity
    let whole = [PositionRange(leaf..<2 * leaf + 3), PositionRange(4 * leaf..<5 * leaf)]
    #expect(Accumulation.reproducible.accepts(whole))
    #expect(Accumulation.reproducible.accepts([]))
    #expect(!Accumulation.reproducible.accepts([PositionRange(1..<leaf)]))
    let striped = [PositionRange(start: 0, stride: 2, count: leaf)]
    #expect(!Accumulation.reproducible.accepts(striped))
    #expect(Accumulation.fast.accepts(striped) && Accumulation.fast.granularity == 1)
  }

  @Test("the fast sums are not the same bits, or these tests would show nothing")
  func fastDiffers() {
    let problem = Problem(tokens: 1700, headDim: 16)
    let one = problem.results(FullPattern(), accumulation: .fast)
    let three = problem.results(FullPattern(), ranks: 3, first: 1, accumulation: .fast)
    #expect(one.o != three.o && one.lse != three.lse)
    #expect(one.dq != three.dq && one.dk != three.dk && one.dv != three.dv)
  }
}

@Suite("Reproducible sums against the oracle")
struct ReproducibleAccuracyTests {

  /// No error is above the limit, or much above that of the fast sums.
  private func expectAccurate(
    _ problem: Problem, tolerance: Double = 1e-5,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let bias: (Int, Int, Int) -> Double = { i, j, _ in j <= i ? 0 : -.infinity }
    // The oracle is slow, so it is asked once for both.
    let expected = problem.expected(bias: bias)
    let gradients = problem.expectedGradients(bias: bias)
    func errors(_ actual: Results) -> [Double] {
      [
        relativeError(actual.o, expected.o), relativeError(actual.lse, expected.lse),
        relativeError(actual.dq, gradients.dq), relativeError(actual.dk, gradients.dk),
        relativeError(actual.dv, gradients.dv),
      ]
    }
    let fast = errors(problem.results(CausalPattern(), accumulation: .fast))
    let reproducible = errors(problem.results(CausalPattern(), ranks: 2))
    for (name, errors) in zip(["o", "lse", "dq", "dk", "dv"], zip(reproducible, fast)) {
      #expect(
        errors.0 < tolerance && errors.0 <= 1.25 * errors.1 + 0x1p-23,
        "\(name): \(errors.0), fast \(errors.1)", sourceLocation: sourceLocation)
    }
  }

  @Test("two leaves and a bit", arguments: [16, 64, 576])
  func ordinary(headDim: Int) {
    expectAccurate(Problem(tokens: 1700, queryHeads: 2, kvHeads: 1, headDim: headDim))
  }

  @Test("logits a hundred times larger")
  func largeLogits() {
    expectAccurate(Problem(tokens: 1700, headDim: 64, logits: 100), tolerance: 1e-3)
  }

  @Test("values and gradients of very different size")
  func magnitudes() {
    var problem = Problem(tokens: 1700, headDim: 16)
    Problem.spread(&problem.v, tokens: 1700, from: -20, to: 10)
    expectAccurate(problem)
    Problem.spread(&problem.outputGradient, tokens: 1700, from: -20, to: 10)
    expectAccurate(problem)
  }

  @Test("rows that see nothing")
  func deadRows() {
    let problem = Problem(tokens: 40, keyTokens: 10, headDim: 16)
    let results = problem.results(CausalPattern(offset: -30))
    #expect(results.o[..<(30 * 16)].allSatisfy { $0 == 0 })
    #expect(results.lse[..<30].allSatisfy { $0 == -.infinity })
    #expect(results.dq[..<(30 * 16)].allSatisfy { $0 == 0 })
  }
}
