import Attention
import AttentionReference
import MPI
import SequenceParallel
import Sharding
import Tensors

/// bf16 arithmetic on all ways, layouts and masks, in both kinds of sums, and its samples.
func checkArithmetic(_ world: borrowing Communicator) throws {
  try checkAgainstOracle(world)
  try checkSamples(world)
  try checkReproducibly(world)
}

/// Outputs to 4e-3 and gradients to 1e-2 of the oracle of rounded inputs, the ways in turn.
private func checkAgainstOracle(_ world: borrowing Communicator) throws {
  let ranks = world.size
  for (index, (route, backward)) in ways(ranks: ranks).enumerated() {
    let tokens = [1, ranks + 1, 37, 20 * ranks + 3][index % 4]
    let (queryHeads, kvHeads) = [(3, 3), (4, 2), (6, 1)][index % 3]
    let shape = AttentionShape(
      batch: 2, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 20, valueHeadDim: 17)
    let problem = Problem(
      shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 1700 + UInt64(index))
    for (turn, mask) in MaskCase.all(tokens: tokens, keyTokens: tokens).enumerated()
    where (turn + index) % 3 == 0 {
      let layout = Layout.regular[index % 3]
      let attention = problem.attention(
        mask.pattern, layout: layout, ranks: ranks, wire: index % 2 == 0 ? .bf16 : .f32,
        arithmetic: .bf16)
      var options = DistributedAttention.Options()
      options.topology = topology(for: route, ranks: ranks)
      options.backwardRoute = backward
      options.team = ThreadTeam(threads: 1 + index % 2)
      let passes = try problem.run(attention, route, options: options, on: world)
      try problem.check(
        passes, try problem.rounded.expected(mask, on: world), attention, rank: world.rank,
        tolerance: 4e-3, gradientTolerance: 1e-2,
        "bf16, \(route), \(backward), \(mask.name), \(layout), \(tokens) tokens")
    }
  }
}

/// The sampled checks allow for the rounding, and for no more than a few times it.
private func checkSamples(_ world: borrowing Communicator) throws {
  let tokens = 60 * world.size + 5
  let shape = AttentionShape(
    batch: 1, queryHeads: 4, kvHeads: 2, headDim: 24, valueHeadDim: 24)
  let problem = Problem(shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 1800)
  @Sendable func bias(_ query: Int, _ key: Int, _ head: Int) -> Double {
    key <= query ? 0 : -.infinity
  }
  for wire in [WireType.bf16, .int8] {
    let attention = problem.attention(
      CausalPattern(), layout: .zigzag, ranks: world.size, wire: wire, arithmetic: .bf16)
    let passes = try problem.run(attention, on: world)
    let finding = try SampledCheck(of: attention, rows: 8, bias: bias)
      .run(passes.output, q: problem.q, k: problem.k, v: problem.v, on: world)
    let gradients = try SampledGradientCheck(of: attention, rows: 4, bias: bias).run(
      passes.gradients, passes.output, q: problem.q, k: problem.k, v: problem.v,
      outputGradient: problem.outputGradient, on: world)
    try require(
      finding.holds && gradients.holds && finding.tolerance < 0.1,
      "\(wire): errors \(finding.maxError) of \(finding.tolerance), \(gradients.maxError) of "
        + "\(gradients.tolerance)")
    // F32 arithmetic allows less than what bf16 does.
    let exact = problem.attention(
      CausalPattern(), layout: .zigzag, ranks: world.size, wire: wire)
    let refused = try SampledCheck(of: exact, rows: 8, bias: bias)
      .run(passes.output, q: problem.q, k: problem.k, v: problem.v, on: world)
    try require(refused.tolerance < finding.tolerance, "\(wire): the same is allowed")
  }
}

/// The same bits on every way.
private func checkReproducibly(_ world: borrowing Communicator) throws {
  let tokens = Accumulation.reproducible.granularity + 50
  let shape = AttentionShape(batch: 1, queryHeads: 2, kvHeads: 1, headDim: 8, valueHeadDim: 8)
  let problem = Problem(shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 1900)
  let attention = problem.attention(
    CausalPattern(), layout: .zigzag, ranks: world.size, wire: .bf16,
    accumulation: .reproducible, arithmetic: .bf16)
  let first = try problem.run(attention, on: world).bits
  for (route, backward) in [(Route.query, BackwardRoute.queries), (.heads, .keys)] {
    var options = DistributedAttention.Options()
    options.backwardRoute = backward
    try require(
      try problem.run(attention, route, options: options, on: world).bits == first,
      "bf16, \(route): other bits")
  }
}

extension Problem {
  /// Rounds keys and values to bf16, as a wire does.
  mutating func roundKeys() {
    (k, v) = (MemoryRows(rounding: k), MemoryRows(rounding: v))
  }

  /// The same with inputs rounded to bf16, in arithmetic that rounds nothing more.
  var rounded: Problem {
    var problem = self
    problem.q = MemoryRows(rounding: q)
    problem.k = MemoryRows(rounding: k)
    problem.v = MemoryRows(rounding: v)
    problem.outputGradient = MemoryRows(rounding: outputGradient)
    return problem
  }
}
