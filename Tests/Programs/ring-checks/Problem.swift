import Attention
import AttentionReference
import MPI
import SequenceParallel
import Sharding
import Tensors

/// A problem that every rank can make whole, small enough for the oracle.
struct Problem {
  private(set) var shape: AttentionShape
  let tokens: Int
  let keyTokens: Int
  var q: MemoryRows
  var k: MemoryRows
  var v: MemoryRows
  var outputGradient: MemoryRows
  let scale: Double
  /// What becomes of scores, for the kernels and for the oracle.
  let scoreRule: (any ScoreRule)?
  var referenceRule: (any ReferenceScoreRule)?
  /// Learned sinks, of each query head.
  var sinks: [Float]?

  init(
    shape: AttentionShape, tokens: Int, keyTokens: Int, logits: Float, seed: UInt64,
    scoreRule: (any ScoreRule)? = nil, referenceRule: (any ReferenceScoreRule)? = nil
  ) {
    self.scoreRule = scoreRule
    self.referenceRule = referenceRule
    self.shape = shape
    self.tokens = tokens
    self.keyTokens = keyTokens
    scale = 1 / Double(shape.headDim).squareRoot()
    q = MemoryRows(
      [shape.batch, tokens, shape.queryHeads, shape.headDim], seed: 4 * seed, factor: logits)
    k = MemoryRows(
      [shape.batch, keyTokens, shape.kvHeads, shape.headDim], seed: 4 * seed + 1, factor: 1)
    v = MemoryRows(
      [shape.batch, keyTokens, shape.kvHeads, shape.valueHeadDim], seed: 4 * seed + 2, factor: 1)
    outputGradient = MemoryRows(
      [shape.batch, tokens, shape.queryHeads, shape.valueHeadDim], seed: 4 * seed + 3, factor: 1)
  }

  /// The same with other queries and keys, which may have more columns, and the same scale.
  init(_ problem: Problem, q: MemoryRows, k: MemoryRows) {
    self = problem
    shape = AttentionShape(
      batch: problem.shape.batch, queryHeads: problem.shape.queryHeads,
      kvHeads: problem.shape.kvHeads, headDim: q.shape[3],
      valueHeadDim: problem.shape.valueHeadDim)
    (self.q, self.k) = (q, k)
  }

  func attention(
    _ pattern: any AttentionPattern, layout: Layout, ranks: Int, wire: WireType = .f32,
    accumulation: Accumulation = .fast, arithmetic: Arithmetic = .f32
  ) -> ShardedAttention {
    let planner = LayoutPlanner(
      pattern, shape: shape, tokens: tokens, keyTokens: keyTokens, ranks: ranks,
      granularity: accumulation.granularity)
    guard let division = planner.decide(layout) else { preconditionFailure("without weights") }
    return attention(
      pattern, queries: division.queries, keys: division.keys, wire: wire,
      accumulation: accumulation, arithmetic: arithmetic)
  }

  func attention(
    _ pattern: any AttentionPattern, queries: Sharding, keys: Sharding, wire: WireType = .f32,
    accumulation: Accumulation = .fast, arithmetic: Arithmetic = .f32
  ) -> ShardedAttention {
    ShardedAttention(
      shape: shape, queries: queries, keys: keys, pattern: pattern, scoreRule: scoreRule,
      sinks: sinks.map(LearnedSinks.init), wire: wire, accumulation: accumulation,
      arithmetic: arithmetic)
  }

  /// Runs both passes on this rank's shard.
  func run(
    _ attention: ShardedAttention, _ route: Route = .ring,
    options: DistributedAttention.Options = .init(), on world: borrowing Communicator
  ) throws -> Passes {
    let queries = try attention.loadQueries(q, rank: world.rank)
    let outputGradient = try outputGradient.read(shard: queries.runs)
    var engine = try DistributedAttention(
      attention, route: route, options: options, on: world)
    try engine.withOwnBlock { block in
      try attention.load(keys: k, values: v, rank: world.rank, into: &block)
    }
    let output = try engine.forward(queries)
    let forwardTraffic = engine.traffic
    let gradients = try engine.backward(queries, output: output, outputGradient: outputGradient)
    let backwardTraffic = engine.traffic - forwardTraffic
    let backward = engine.backwardDecision.travelling
    try engine.close()
    return Passes(
      output: output, gradients: gradients, forwardTraffic: forwardTraffic,
      backwardTraffic: backwardTraffic, backward: backward)
  }

  /// Throws unless this rank's rows are the oracle's, each tensor within its tolerance times
  /// `1 + max|expected|`.
  func check(
    _ passes: borrowing Passes, _ expected: Expected, _ attention: some ShardedProblem, rank: Int,
    tolerance: Double, gradientTolerance: Double, _ name: String
  ) throws {
    let queries = attention.queries.shards[rank].flatMap(Array.init)
    let keys = attention.keys.shards[rank].flatMap(Array.init)
    try check(
      passes.output.o, "o", expected.o, positions: queries, tokens: tokens, tolerance, name)
    try check(
      passes.gradients.dq, "dq", expected.dq, positions: queries, tokens: tokens,
      gradientTolerance, name)
    try check(
      passes.gradients.dk, "dk", expected.dk, positions: keys, tokens: keyTokens,
      gradientTolerance, name)
    try check(
      passes.gradients.dv, "dv", expected.dv, positions: keys, tokens: keyTokens,
      gradientTolerance, name)
    let dsinks = passes.gradients.dsinks ?? []
    try require(dsinks.count == expected.dsinks.count, "\(name): \(dsinks.count) sinks")
    for (actual, wanted) in zip(dsinks, expected.dsinks) {
      try require(
        abs(Double(actual) - wanted) <= gradientTolerance * (1 + largest(expected.dsinks)),
        "\(name): the gradient of a sink is \(actual), not \(wanted)")
    }
    try require(
      passes.output.lse.shape == [shape.batch, shape.queryHeads, queries.count],
      "\(name): the shape of lse is \(passes.output.lse.shape)")
    let allowed = tolerance * (1 + largest(expected.lse))
    for row in 0..<shape.batch * shape.queryHeads {
      for (local, position) in queries.enumerated() {
        let actual = Double(passes.output.lse.span[row * queries.count + local])
        let wanted = expected.lse[row * tokens + position]
        try require(
          actual == wanted || abs(actual - wanted) <= allowed,
          "\(name): lse of token \(position) is \(actual), not \(wanted)")
      }
    }
  }

  /// Compares the rows of one tensor `[batch, tokens, heads, columns]`.
  private func check(
    _ tensor: borrowing Tensor<Float>, _ what: String, _ expected: [Double], positions: [Int],
    tokens: Int, _ tolerance: Double, _ name: String
  ) throws {
    let row = tensor.shape[2] * tensor.shape[3]
    try require(
      tensor.shape[0] == shape.batch && tensor.shape[1] == positions.count
        && expected.count == shape.batch * tokens * row,
      "\(name): the shape of \(what) is \(tensor.shape)")
    let allowed = tolerance * (1 + largest(expected))
    for batch in 0..<shape.batch {
      for (local, position) in positions.enumerated() {
        for c in 0..<row {
          let actual = tensor.span[(batch * positions.count + local) * row + c]
          let wanted = expected[(batch * tokens + position) * row + c]
          try require(
            abs(Double(actual) - wanted) <= allowed,
            "\(name): \(what) of token \(position) is \(actual), not \(wanted)")
        }
      }
    }
  }

  private func largest(_ values: [Double]) -> Double {
    values.reduce(0) { $1.isFinite ? max($0, abs($1)) : $0 }
  }
}

/// A tensor in memory, made of a repeatable generator's uniform numbers in (−2, 2).
struct MemoryRows: TokenRows {
  let shape: Shape
  let values: [Float]

  init(_ shape: Shape, seed: UInt64, factor: Float) {
    self.shape = shape
    var state = (seed &+ 1) &* 0x9E37_79B9_7F4A_7C15 | 1
    values = (0..<shape.elementCount).map { _ in
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Float(Int32(truncatingIfNeeded: state >> 20)) / 1_073_741_824 * factor
    }
  }

  /// Takes numbers.
  init(_ shape: Shape, values: [Float]) {
    (self.shape, self.values) = (shape, values)
  }

  /// The same with every number rounded to bf16.
  init(rounding rows: MemoryRows) {
    shape = rows.shape
    values = rows.values.map { Float(BFloat16($0)) }
  }

  func read(batch: Int, tokens: PositionRange, into numbers: inout MutableSpan<Float>) {
    var target = 0
    for token in tokens {
      let source = (batch * shape[1] + token) * rowLength
      for c in 0..<rowLength { numbers[target + c] = values[source + c] }
      target += rowLength
    }
  }
}

/// What a rank has of both passes.
struct Passes: ~Copyable {
  let output: AttentionOutput
  var gradients: AttentionGradients
  let forwardTraffic: Traffic
  let backwardTraffic: Traffic
  /// What travelled backward.
  let backward: Travelling

  /// All that they gave.
  var bits: [UInt32] {
    bits(output.o) + bits(output.lse) + bits(gradients.dq) + bits(gradients.dk)
      + bits(gradients.dv) + (gradients.dsinks ?? []).map(\.bitPattern)
  }

  private func bits(_ tensor: borrowing Tensor<Float>) -> [UInt32] {
    tensor.span.indices.map { tensor.span[$0].bitPattern }
  }
}
