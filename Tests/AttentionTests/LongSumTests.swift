import Attention
import Foundation
import Tensors
import Testing

/// One key far ahead of all others, which are equal: what sums over many keys lose shows here, and
/// the answer has a closed form.
struct SinkProblem {
  /// Where the key far ahead is.
  enum Place: CaseIterable { case first, middle, last }

  let keys: Int
  let place: Place
  let headDim: Int
  let queries: Int
  let shape: AttentionShape
  /// How far ahead its score is.
  let gap: Float

  init(keys: Int, place: Place, headDim: Int = 4, queries: Int = 6, gap: Float = 21.3) {
    self.keys = keys
    self.place = place
    self.headDim = headDim
    self.queries = queries
    self.gap = gap
    shape = AttentionShape(
      batch: 1, queryHeads: 1, kvHeads: 1, headDim: headDim, valueHeadDim: headDim)
  }

  var scale: Double { 1 }

  private var sink: Int {
    switch place {
    case .first: 0
    case .middle: keys / 2
    case .last: keys - 1
    }
  }

  // One row each; powers of two, so that products are exact.
  private func query(_ d: Int) -> Float { d == 0 ? 1 : 0.5 }
  private func key(_ d: Int, isSink: Bool) -> Float {
    d == 0 && isSink ? 0.25 + gap : 0.25
  }
  private func value(_ d: Int, isSink: Bool) -> Float {
    (isSink ? 0.5 : -0.75) + Float(d) / 16
  }
  private func gradient(_ d: Int) -> Float { d % 2 == 0 ? 1 : 0.25 }

  /// Keys and values of some positions.
  func block(_ positions: Range<Int>) -> KeyValueBlock {
    var block = KeyValueBlock(
      shape: shape, elementType: .f32, runs: [PositionRange(positions)])
    let piece = 1 << 16
    for first in stride(from: positions.lowerBound, to: positions.upperBound, by: piece) {
      let range = first..<min(first + piece, positions.upperBound)
      func rows(_ number: (Int, Bool) -> Float) -> [Float] {
        range.flatMap { position in (0..<headDim).map { number($0, position == sink) } }
      }
      let start = first - positions.lowerBound
      block.packKeys(rows { key($0, isSink: $1) }.span, batch: 0, run: 0, from: start)
      block.packValues(rows { value($0, isSink: $1) }.span, batch: 0, run: 0, from: start)
    }
    return block
  }

  func queryShard() -> QueryShard {
    QueryShard(tensor(query), runs: [PositionRange(0..<queries)])
  }

  func outputGradient() -> Tensor<Float> { tensor(gradient) }

  private func tensor(_ number: (Int) -> Float) -> Tensor<Float> {
    let row = (0..<headDim).map(number)
    let rows = (0..<queries).flatMap { _ in row }
    return Tensor(shape: [1, queries, 1, headDim], buffer: AlignedBuffer(copying: rows.span))
  }

  /// The largest errors, of gradients relative to `1 + max|exact|` of each tensor and to each
  /// number of `dv` and `dk` of a key that is not far ahead.
  struct Errors {
    var o = 0.0
    var lse = 0.0
    var dq = 0.0
    var dkv = 0.0
    var relativeDKV = 0.0
  }

  /// The closed form.
  struct Exact {
    let o: [Double]
    let lse: Double
    let dq: [Double]
    /// Of the key far ahead and of any other.
    let dk: [[Double]]
    let dv: [[Double]]
  }

  var exact: Exact {
    func dot(_ a: (Int) -> Float, _ b: (Int) -> Float) -> Double {
      (0..<headDim).reduce(0) { $0 + Double(a($1)) * Double(b($1)) }
    }
    let kinds = [true, false]
    let counts = [1.0, Double(keys - 1)]
    let scores = kinds.map { kind in dot(query) { key($0, isSink: kind) } }
    let lse = scores[0] + log1p(counts[1] * exp(scores[1] - scores[0]))
    let weights = scores.map { exp($0 - lse) }
    let o = (0..<headDim).map { d in
      zip(kinds, zip(weights, counts)).reduce(0) {
        $0 + $1.1.0 * $1.1.1 * Double(value(d, isSink: $1.0))
      }
    }
    let delta = (0..<headDim).reduce(0) { $0 + Double(gradient($1)) * o[$1] }
    let scoreGradients = zip(kinds, weights).map { kind, weight in
      weight * (dot(gradient) { value($0, isSink: kind) } - delta)
    }
    let dq = (0..<headDim).map { d in
      (0..<2).reduce(0) {
        $0 + scoreGradients[$1] * counts[$1] * Double(key(d, isSink: kinds[$1]))
      }
    }
    return Exact(
      o: o, lse: lse, dq: dq,
      dk: scoreGradients.map { ds in
        (0..<headDim).map { Double(queries) * ds * Double(query($0)) }
      },
      dv: weights.map { weight in
        (0..<headDim).map { Double(queries) * weight * Double(gradient($0)) }
      })
  }

  /// Both passes, the keys in blocks of `blockKeys`.
  func errors(blockKeys: Int, accumulation: Accumulation = .fast) -> Errors {
    let queryShard = queryShard()
    let outputGradient = outputGradient()
    var forward = ForwardAccumulator(
      shape: shape, tokens: queries, scale: scale, pattern: FullPattern(),
      accumulation: accumulation)
    let blocks = stride(from: 0, to: keys, by: blockKeys).map {
      $0..<min($0 + blockKeys, keys)
    }
    for positions in blocks { forward.attend(queryShard, to: block(positions)) }
    let output = forward.finish()
    var backward = BackwardAccumulator(
      shape: shape, output: output, outputGradient: outputGradient, scale: scale,
      pattern: FullPattern(), accumulation: accumulation)
    let exact = exact
    var errors = Errors()
    for positions in blocks {
      var gradient = KeyValueGradient(
        shape: shape, keys: positions.count, accumulation: accumulation)
      backward.attend(
        queryShard, outputGradient: outputGradient, to: block(positions), addingTo: &gradient)
      compare(gradient.dk(), exact.dk, positions, &errors)
      compare(gradient.dv(), exact.dv, positions, &errors)
    }
    let dq = backward.finish()
    for row in 0..<queries {
      errors.lse = max(errors.lse, abs(Double(output.lse.span[row]) - exact.lse))
      for d in 0..<headDim {
        let index = row * headDim + d
        errors.o = max(errors.o, abs(Double(output.o.span[index]) - exact.o[d]))
        errors.dq = max(errors.dq, abs(Double(dq.span[index]) - exact.dq[d]))
      }
    }
    errors.o /= 1 + (exact.o.map(abs).max() ?? 0)
    errors.dq /= 1 + (exact.dq.map(abs).max() ?? 0)
    return errors
  }

  private func compare(
    _ actual: borrowing Tensor<Float>, _ expected: [[Double]], _ positions: Range<Int>,
    _ errors: inout Errors
  ) {
    let magnitude = 1 + (expected.joined().map(abs).max() ?? 0)
    for (row, position) in positions.enumerated() {
      let isSink = position == sink
      for d in 0..<headDim {
        let number = expected[isSink ? 0 : 1][d]
        let error = abs(Double(actual.span[row * headDim + d]) - number)
        errors.dkv = max(errors.dkv, error / magnitude)
        if !isSink { errors.relativeDKV = max(errors.relativeDKV, error / abs(number)) }
      }
    }
  }
}

/// `GYRE_LONG_SUMS` is the largest number of keys, or queries, for longer runs than a test should
/// take.
@Suite("Sums over many keys and many queries")
struct LongSumTests {
  static let lengths: [Int] = {
    let largest = ProcessInfo.processInfo.environment["GYRE_LONG_SUMS"].flatMap { Int($0) }
    return [100_000, 1 << 21, 10_000_000, 100_000_000].filter { $0 <= largest ?? 1 << 21 }
  }()

  @Test(
    "a key far ahead of millions of others loses nothing of them, wherever it is",
    arguments: lengths, SinkProblem.Place.allCases)
  func sinks(keys: Int, place: SinkProblem.Place) {
    let problem = SinkProblem(keys: keys, place: place)
    let errors = problem.errors(blockKeys: keys)
    note(keys, place, errors)
    // Without what rounding takes, two million keys put o or lse off by 1e-4 and dq by 7e-3. What
    // is left of dq comes of Δ, the rounded product of do and o, which does not grow.
    #expect(errors.o < 5e-7)
    #expect(errors.lse < 4e-6)
    #expect(errors.dq < 4e-5)
    #expect(errors.dkv < 1e-5)
    #expect(errors.relativeDKV < 1e-5)
  }

  @Test("blocks as small as a tile lose nothing either", arguments: [1000, 40_000])
  func blocks(blockKeys: Int) {
    let errors = SinkProblem(keys: 1 << 20, place: .first).errors(blockKeys: blockKeys)
    #expect(errors.o < 5e-7)
    #expect(errors.lse < 4e-6)
    #expect(errors.dq < 4e-5)
  }

  @Test(
    "a few rows, read where they lie, lose nothing either", arguments: SinkProblem.Place.allCases)
  func fewRows(place: SinkProblem.Place) {
    let keys = 1 << 20
    let errors = SinkProblem(keys: keys, place: place, headDim: 16, queries: 1)
      .errors(blockKeys: keys)
    #expect(errors.o < 5e-7)
    // The rounding of a score of 16 products.
    #expect(errors.lse < 1.2e-5)
    #expect(errors.dq < 1e-4)
  }

  @Test(
    "queries that travel lose nothing where they visit millions of keys",
    arguments: SinkProblem.Place.allCases)
  func travelling(place: SinkProblem.Place) {
    let keys = 1 << 21
    let problem = SinkProblem(keys: keys, place: place)
    let tokens = problem.queries
    let computation = BlockComputation(
      shape: problem.shape, scale: problem.scale, pattern: FullPattern())
    let block = problem.block(0..<keys)
    let exact = problem.exact
    let queryMemory = AlignedBuffer<UInt8>(
      zeros: QueryBlock.byteCount(tokens: tokens, shape: problem.shape, pass: .backward))
    let partialMemory = AlignedBuffer<UInt8>(
      zeros: ForwardPartial.byteCount(tokens: tokens, shape: problem.shape))
    let gradientMemory = AlignedBuffer<UInt8>(
      zeros: QueryGradient.byteCount(tokens: tokens, shape: problem.shape))
    var partial = unsafe ForwardPartial(
      shape: problem.shape, tokens: tokens, memory: partialMemory.unsafeMutableBytes)
    partial.clear()
    var queries = unsafe QueryBlock(
      shape: problem.shape, runs: [PositionRange(0..<tokens)], pass: .backward,
      memory: queryMemory.unsafeMutableBytes)
    let shard = problem.queryShard()
    queries.load(shard)
    computation.attend(queries, to: block, addingTo: &partial)
    let output = partial.output()
    queries.load(shard, output: output, outputGradient: problem.outputGradient())
    var dq = unsafe QueryGradient(
      shape: problem.shape, tokens: tokens, memory: gradientMemory.unsafeMutableBytes)
    dq.clear()
    var gradient = KeyValueGradient(shape: problem.shape, keys: keys)
    computation.addGradients(queries, and: block, to: &dq, and: &gradient)
    let queryGradient = dq.dq(scale: problem.scale)
    for d in 0..<problem.headDim {
      #expect(abs(Double(output.o.span[d]) - exact.o[d]) < 1e-6)
      #expect(abs(Double(queryGradient.span[d]) - exact.dq[d]) < 4e-5)
    }
    #expect(abs(Double(output.lse.span[0]) - exact.lse) < 4e-6)
  }

  @Test("gradients of a key add up over millions of queries", arguments: lengths)
  func manyQueries(queries: Int) {
    let problem = SinkProblem(keys: 2, place: .first, queries: queries, gap: 1)
    let exact = problem.exact
    let errors = problem.errors(blockKeys: 2)
    print("\(queries) queries, dk and dv \(errors.dkv)")
    #expect(exact.dv[0][0] > Double(queries) / 2)
    #expect(errors.dkv < 3e-6)
  }

  @Test("scores that rise all the way change the largest often and lose nothing")
  func rising() {
    let keys = 1 << 20
    let shape = AttentionShape(batch: 1, queryHeads: 1, kvHeads: 1, headDim: 1, valueHeadDim: 1)
    let scores = (0..<keys).map { 60 * Float($0) / Float(keys) }
    let values = (0..<keys).map { Float($0 % 7) - 2 }
    var block = KeyValueBlock(
      shape: shape, elementType: .f32, runs: [PositionRange(0..<keys)])
    block.packKeys(scores.span, batch: 0, run: 0, from: 0)
    block.packValues(values.span, batch: 0, run: 0, from: 0)
    var accumulator = ForwardAccumulator(shape: shape, tokens: 1, scale: 1, pattern: FullPattern())
    accumulator.attend(
      QueryShard(Tensor(repeating: 1, shape: [1, 1, 1, 1]), runs: [PositionRange(0..<1)]),
      to: block)
    let output = accumulator.finish()
    var (sum, weighted) = (0.0, 0.0)
    for (score, value) in zip(scores, values) {
      let weight = exp(Double(score) - 60)
      sum += weight
      weighted += weight * Double(value)
    }
    #expect(abs(Double(output.lse.span[0]) - (60 + log(sum))) < 8e-6)
    #expect(abs(Double(output.o.span[0]) - weighted / sum) < 2e-6)
  }

  /// A row of the table in Docs/Numerics.md.
  private func note(_ keys: Int, _ place: SinkProblem.Place, _ errors: SinkProblem.Errors) {
    print(
      "\(keys) keys, far ahead: \(place), o \(errors.o), lse \(errors.lse), dq \(errors.dq), "
        + "dk and dv \(errors.dkv)")
  }
}
