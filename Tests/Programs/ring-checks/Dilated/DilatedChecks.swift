import Attention
import AttentionReference
import LongNet
import MPI
import SequenceParallel
import Sharding
import Tensors

/// A dilated pattern as the kernels have it and as the oracle has it.
struct DilatedCase {
  let name: String
  let pattern: DilatedPattern
  let reference: ReferenceDilation

  init(_ branches: [(Int, Int)], _ offset: HeadOffset, queryHeads: Int, isCausal: Bool) {
    name = "\(branches) \(offset) \(isCausal ? "causal" : "full")"
    pattern = DilatedPattern(
      branches: branches.map { DilatedBranch(segmentLength: $0.0, dilationRate: $0.1) },
      headOffset: offset, queryHeads: queryHeads, isCausal: isCausal)
    reference = ReferenceDilation(
      branches: branches.map { (length: $0.0, rate: $0.1) }, isCausal: isCausal
    ) { head, rate in
      offset == .modulo ? head % rate : head / ((queryHeads + rate - 1) / rate)
    }
  }
}

/// Branches for sequences of some length: with a rate of 1 and without, nested and not, rates that
/// do not divide segments, segments longer than the sequence.
private func branchLists(tokens: Int) -> [[(Int, Int)]] {
  [
    [(16, 1), (64, 4), (4 * tokens, 16)],
    [(7, 2), (30, 3), (31, 5)],
    [(tokens, 1)],
    [(max(1, tokens / 3), 1), (max(1, tokens / 3), 1), (5, 8)],
  ]
}

/// Rules that do everything that a rule may: of the score alone, of distances by a loop of their
/// own, and of all that a rule is told; none in one case of four.
private func rule(
  _ turn: Int, heads: Int
) -> (kernels: any ScoreRule, oracle: any ReferenceScoreRule)? {
  switch turn {
  case 1:
    (
      RuleSequence([SoftCap(limit: 1), Alibi(slopes: Alibi.slopes(heads: heads))]),
      ReferenceRuleSequence([
        ReferenceSoftCap(limit: 1),
        ReferenceAlibi(slopes: ReferenceAlibi.slopes(heads: heads), offset: 0),
      ])
    )
  case 2: (PlaceRule(), ReferencePlaceRule())
  case 3: (SoftCap(limit: 1), ReferenceSoftCap(limit: 1))
  default: nil
  }
}

/// Every placement against the closed form, forward and backward; scores of three in four problems
/// go through a rule, and every fifth has learned sinks.
func checkDilated(_ world: borrowing Communicator) throws {
  var seed: UInt64 = 500
  for tokens in [1, 37, 300] {
    for (queryHeads, kvHeads) in [(1, 1), (4, 4), (6, 2), (5, 1)] {
      for isCausal in [true, false] {
        for (branches, offset) in branchLists(tokens: tokens).flatMap({
          [($0, HeadOffset.modulo), ($0, .grouped)]
        }) {
          seed += 1
          let shape = AttentionShape(
            batch: seed % 3 == 0 ? 2 : 1, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 8,
            valueHeadDim: seed % 5 == 0 ? 12 : 8)
          let rule = rule(Int((seed / 2 + seed / 8) % 4), heads: queryHeads)
          var problem = Problem(
            shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: seed,
            scoreRule: rule?.kernels, referenceRule: rule?.oracle)
          if seed % 5 == 2 { problem.sinks = (0..<queryHeads).map { Float($0) - 1 } }
          let dilation = DilatedCase(branches, offset, queryHeads: queryHeads, isCausal: isCausal)
          let expected = try problem.expected(on: world) {
            dilation.reference.bias($0, $1, head: $2)
          }
          for (index, placement) in Placement.allCases.enumerated() {
            let layout = Layout.regular[(Int(seed) + index) % 3]
            var options = DilatedAttention.Options()
            // Rounds of a few rows, and of everything.
            options.roundBytes = [2000, 50_000, 8 << 20][(Int(seed) / 3 + index) % 3]
            options.overlaps = seed % 4 != 0
            options.team = ThreadTeam(threads: 1 + Int(seed % 2))
            let attention = try problem.dilated(dilation, layout: layout, ranks: world.size)
            let passes = try problem.run(attention, placement, options, on: world)
            try problem.check(
              passes, expected, attention, rank: world.rank, tolerance: 1e-5,
              gradientTolerance: 1e-4,
              "\(placement), \(dilation.name), \(layout), \(tokens) tokens, \(shape)")
          }
          // The same pattern as a bias, on the ring, now and then: it computes far more.
          if seed % 3 != 0 { continue }
          let attention = problem.attention(dilation.pattern, layout: .striped, ranks: world.size)
          let passes = try problem.run(attention, .ring, on: world)
          try problem.check(
            passes, expected, attention, rank: world.rank, tolerance: 1e-5,
            gradientTolerance: 1e-4, "ring, \(dilation.name), \(tokens) tokens, \(shape)")
        }
      }
    }
  }
}

/// Longer sequences, whose sampled rows are compared, and traffic, which is to be what the plan
/// says.
func checkLongDilated(_ world: borrowing Communicator) throws {
  var seed: UInt64 = 900
  for tokens in [1000, 4096, 10007] {
    for isCausal in [true, false] {
      for (placement, offset) in Placement.allCases.flatMap({
        [($0, HeadOffset.modulo), ($0, .grouped)]
      }) {
        seed += 1
        let dilation = DilatedCase(
          [(256, 1), (1024, 3), (3000, 8), (20000, 32)], offset, queryHeads: 4,
          isCausal: isCausal)
        let shape = AttentionShape(
          batch: 1, queryHeads: 4, kvHeads: 2, headDim: 16, valueHeadDim: 16)
        let problem = Problem(
          shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: seed)
        let layout = Layout.regular[Int(seed) % 3]
        let attention = try problem.dilated(dilation, layout: layout, ranks: world.size)
        var options = DilatedAttention.Options()
        options.roundBytes = 1 << 20
        let passes = try problem.run(attention, placement, options, on: world)
        let name = "\(placement), \(dilation.name), \(layout), \(tokens) tokens"
        let bias = { @Sendable (i: Int, j: Int, h: Int) in dilation.reference.bias(i, j, head: h) }
        let finding = try SampledCheck(of: attention, rows: 8, bias: bias)
          .run(passes.output, q: problem.q, k: problem.k, v: problem.v, on: world)
        try require(finding.holds, "\(name): error \(finding.maxError)")
        let gradients = try SampledGradientCheck(of: attention, rows: 4, bias: bias).run(
          passes.gradients, passes.output, q: problem.q, k: problem.k, v: problem.v,
          outputGradient: problem.outputGradient, on: world)
        try require(gradients.holds, "\(name): gradient error \(gradients.maxError)")

        let share = try PlacementSummary(
          of: attention, placement: placement, gradients: true, on: world
        ).shares[world.rank]
        try require(
          passes.forwardTraffic.bytesSent == share.bytesSent
            && passes.backwardTraffic.bytesSent == share.backwardBytesSent,
          """
          \(name): \(passes.forwardTraffic.bytesSent) and \(passes.backwardTraffic.bytesSent) \
          bytes were sent, not \(share.bytesSent) and \(share.backwardBytesSent)
          """)
      }
    }
  }
}

/// Gradients with the weights of branches taken for constants.
func checkDetachedGradients(_ world: borrowing Communicator) throws {
  let tokens = 90
  let shape = AttentionShape(batch: 1, queryHeads: 4, kvHeads: 2, headDim: 8, valueHeadDim: 8)
  let problem = Problem(shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 77)
  for isCausal in [true, false] {
    let dilation = DilatedCase(
      [(16, 1), (32, 2), (90, 4)], .modulo, queryHeads: 4, isCausal: isCausal)
    let exact = try problem.expected(on: world) { dilation.reference.bias($0, $1, head: $2) }
    let detached = problem.detached(dilation.reference, exact)
    try require(
      zip(exact.dq, detached.dq).contains { abs($0 - $1) > 1e-2 },
      "the two gradients are the same, so this check shows nothing")
    for placement in Placement.allCases {
      for roundBytes in [2000, 8 << 20] {
        var options = DilatedAttention.Options()
        options.branchWeightsGradient = .detached
        options.roundBytes = roundBytes
        let attention = try problem.dilated(dilation, layout: .zigzag, ranks: world.size)
        let passes = try problem.run(attention, placement, options, on: world)
        try problem.check(
          passes, detached, attention, rank: world.rank, tolerance: 1e-5, gradientTolerance: 1e-4,
          "\(placement), detached, \(dilation.name)")
      }
    }
  }
}

extension Problem {
  /// Dilated attention of these tensors.
  func dilated(
    _ dilation: DilatedCase, layout: Layout, ranks: Int
  ) throws -> ShardedDilatedAttention {
    let pattern = dilation.pattern
    return try ShardedDilatedAttention(
      shape: shape, sharding: Sharding(layout, tokens: tokens, ranks: ranks),
      branches: pattern.branches, headOffset: pattern.headOffset, isCausal: pattern.isCausal,
      scoreRule: scoreRule, sinks: sinks.map(LearnedSinks.init))
  }

  /// Runs both passes of dilated attention on this rank's shard.
  func run(
    _ attention: ShardedDilatedAttention, _ placement: Placement,
    _ options: DilatedAttention.Options, on world: borrowing Communicator
  ) throws -> Passes {
    let queries = try attention.loadQueries(q, rank: world.rank)
    let outputGradient = try outputGradient.read(shard: queries.runs)
    var engine = try DilatedAttention(
      attention, placement: placement, options: options, on: world)
    // Both ways to hand keys and values over.
    if tokens % 2 == 0 {
      try engine.load(keys: k, values: v)
    } else {
      engine.pack(
        keys: try k.read(shard: queries.runs), values: try v.read(shard: queries.runs))
    }
    let output = try engine.forward(queries)
    let forwardTraffic = engine.traffic
    let gradients = try engine.backward(queries, output: output, outputGradient: outputGradient)
    let backwardTraffic = engine.traffic - forwardTraffic
    try engine.close()
    return Passes(
      output: output, gradients: gradients, forwardTraffic: forwardTraffic,
      backwardTraffic: backwardTraffic, backward: .keys)
  }
}
