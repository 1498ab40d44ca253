import Attention
import AttentionReference
import MPI
import SequenceParallel
import Sharding
import Tensors

/// A soft cap and learned sinks on all ways, wires, layouts and masks, in both kinds of sums.
func checkScoreRule(_ world: borrowing Communicator) throws {
  try checkAgainstOracle(world)
  try checkSamples(world)
  try checkReproducibly(world)
}

private let limit: Float = 1.5

/// About as large as the scores.
private func sinks(_ heads: Int) -> [Float] { (0..<heads).map { 1.5 - Float($0) } }

/// Outputs to 1e-5 and gradients to 1e-4 of the oracle, the ways in turn.
private func checkAgainstOracle(_ world: borrowing Communicator) throws {
  let ranks = world.size
  let ways = ways(ranks: ranks)
  for (index, (route, backward)) in ways.enumerated() {
    let tokens = [1, ranks + 1, 37, 20 * ranks + 3][index % 4]
    let (queryHeads, kvHeads) = [(3, 3), (4, 2), (6, 1)][index % 3]
    let shape = AttentionShape(
      batch: 2, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 20, valueHeadDim: 16)
    var problem = Problem(
      shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 700 + UInt64(index),
      scoreRule: SoftCap(limit: limit), referenceRule: ReferenceSoftCap(limit: Double(limit)))
    problem.sinks = sinks(queryHeads)
    // Masks take turns as well.
    for (turn, mask) in MaskCase.all(tokens: tokens, keyTokens: tokens).enumerated()
    where (turn + index) % 2 == 0 {
      let layout = Layout.regular[index % 3]
      let attention = problem.attention(mask.pattern, layout: layout, ranks: ranks)
      var options = DistributedAttention.Options()
      options.topology = topology(for: route, ranks: ranks)
      options.backwardRoute = backward
      options.team = ThreadTeam(threads: 1 + index % 2)
      let passes = try problem.run(attention, route, options: options, on: world)
      try problem.check(
        passes, try problem.expected(mask, on: world), attention, rank: world.rank, tolerance: 1e-5,
        gradientTolerance: 1e-4, "\(route), \(backward), \(mask.name), \(layout), \(tokens) tokens"
      )
    }
  }
}

/// The sampled checks know the rule: they pass with its twin on every wire, and fail with another.
private func checkSamples(_ world: borrowing Communicator) throws {
  let tokens = 60 * world.size + 5
  let shape = AttentionShape(
    batch: 1, queryHeads: 4, kvHeads: 2, headDim: 24, valueHeadDim: 24)
  let twin = ReferenceSoftCap(limit: Double(limit))
  var problem = Problem(
    shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 800,
    scoreRule: SoftCap(limit: limit), referenceRule: twin)
  problem.sinks = sinks(4)
  let exactSinks = sinks(4).map(Double.init)
  @Sendable func bias(_ query: Int, _ key: Int, _ head: Int) -> Double {
    key <= query ? 0 : -.infinity
  }
  for wire in WireType.allCases {
    let attention = problem.attention(
      CausalPattern(), layout: .zigzag, ranks: world.size, wire: wire)
    let passes = try problem.run(attention, on: world)
    for (reference, sinks, holds) in [
      (twin, exactSinks, true), (ReferenceSoftCap(limit: 1.6), exactSinks, false),
      (twin, [1.5, 0.5, -0.5, -1.4], false),
    ] {
      let finding = try SampledCheck(
        of: attention, rows: 8, scoreRule: reference, sinks: sinks, bias: bias
      )
      .run(passes.output, q: problem.q, k: problem.k, v: problem.v, on: world)
      let gradients = try SampledGradientCheck(
        of: attention, rows: 4, scoreRule: reference, sinks: sinks, bias: bias
      ).run(
        passes.gradients, passes.output, q: problem.q, k: problem.k, v: problem.v,
        outputGradient: problem.outputGradient, on: world)
      try require(
        finding.holds == holds && gradients.holds == holds,
        "\(wire), limit \(reference.limit): errors \(finding.maxError), \(gradients.maxError)")
    }
  }
}

/// The same bits on every way.
private func checkReproducibly(_ world: borrowing Communicator) throws {
  let tokens = Accumulation.reproducible.granularity + 50
  let shape = AttentionShape(batch: 1, queryHeads: 2, kvHeads: 1, headDim: 8, valueHeadDim: 8)
  var problem = Problem(
    shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 900,
    scoreRule: SoftCap(limit: limit), referenceRule: ReferenceSoftCap(limit: Double(limit)))
  problem.sinks = sinks(2)
  let attention = problem.attention(
    CausalPattern(), layout: .zigzag, ranks: world.size, accumulation: .reproducible)
  let first = try problem.run(attention, on: world).bits
  for (route, backward) in [(Route.query, BackwardRoute.queries), (.heads, .keys)] {
    var options = DistributedAttention.Options()
    options.backwardRoute = backward
    try require(
      try problem.run(attention, route, options: options, on: world).bits == first,
      "\(route): other bits")
  }
}
