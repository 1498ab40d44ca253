import Attention
import AttentionReference
import MPI
import SequenceParallel
import Sharding
import Tensors

/// Masks, rules, positions, biases, labels, sinks, projections, layouts, ways, wires, sums and
/// arithmetic put together at random on the ranks of a job, in both passes, against the oracle.
func checkCombinations(_ world: borrowing Communicator) throws {
  for seed in 1...40 as ClosedRange<UInt64> {
    let combination = Combination(seed: seed, ranks: world.size)
    guard var failure = try combination.failure(on: world) else { continue }
    // The smallest that fails on the way down, which all ranks go together.
    var smallest = combination
    search: while true {
      for smaller in smallest.smaller {
        guard let other = try smaller.failure(on: world) else { continue }
        (smallest, failure) = (smaller, other)
        continue search
      }
      break
    }
    try require(false, "\(combination); smallest: \(smallest): \(failure)")
  }
}

/// What a seed decides, which can be made smaller.
private struct Combination: CustomStringConvertible {
  let seed: UInt64
  let ranks: Int
  var masks: [any Mask]
  var batch: Int
  var tokens: Int
  var keyTokens: Int
  var heads: (query: Int, kv: Int)
  var headDim: Int
  var softcap: Bool
  var alibi: Bool
  var hasSinks: Bool
  /// Whether global tokens have projections of their own.
  var projections: Bool
  /// What turns queries and keys.
  var pairing: RotaryPositions.Pairing?
  /// Whether they decay, where the mask is causal.
  var decays: Bool
  /// Whether sinks stand next to the window, where there is such a cache.
  var cached: Bool
  /// Whether sequences, and whether heads, share a bias; nil if there is none.
  var bias: (ofBatch: Bool, ofHeads: Bool)?
  var layout: Layout
  var way: (route: Route, backward: BackwardRoute)
  var wire: WireType
  var accumulation: Accumulation
  var arithmetic: Arithmetic
  var threads: Int

  init(seed: UInt64, ranks: Int) {
    (self.seed, self.ranks) = (seed, ranks)
    var random = MaskRandom(seed: seed &* 64 &+ UInt64(ranks))
    func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    func one(of count: Int) -> Bool { number(1...count) == 1 }
    accumulation = one(of: 5) ? .reproducible : .fast
    // Reproducible sums are divided at leaves of 768 tokens.
    let isLong = accumulation == .reproducible && one(of: 2)
    keyTokens = number(isLong ? 900...1700 : 1...90)
    tokens = one(of: 2) ? keyTokens : number(isLong ? 800...1000 : 1...90)
    batch = isLong ? 1 : number(1...3)
    heads =
      (isLong ? [(1, 1), (2, 1)] : [(1, 1), (4, 4), (4, 2), (6, 1)])
      .randomElement(using: &random) ?? (1, 1)
    headDim = isLong ? 8 : [4, 5, 16, 20, 64].randomElement(using: &random) ?? 4
    (softcap, alibi, hasSinks) = (one(of: 5), one(of: 5), one(of: 5))
    layout = Layout.allCases.randomElement(using: &random) ?? .contiguous
    way = ways(ranks: ranks).randomElement(using: &random) ?? (.ring, .keys)
    wire = one(of: 4) ? .bf16 : .f32
    arithmetic = one(of: 5) ? .bf16 : .f32
    threads = number(1...2)
    (projections, decays, cached) = (false, false, false)
    masks = one(of: 3) ? [] : [CausalMask()]
    if one(of: 2) {
      masks.append(WindowMask(width: number(1...30), dilation: one(of: 3) ? number(2...3) : 1))
      if one(of: 2) { masks.append(SinkMask(count: number(1...5))) }
      if one(of: 2) {
        let first = number(0...keyTokens - 1)
        masks.append(GlobalMask(tokens: [first..<min(keyTokens, first + number(1...3))]))
        projections = one(of: 2)
      }
    }
    let ofSegments: [any Mask] = [
      SegmentMask(), SegmentMask(tokens == keyTokens ? .starts : .ids), ParallelWindowMask(),
      ParallelWindowMask.structured,
    ]
    if one(of: 2) { masks.append(ofSegments[number(0...3)]) }
    if one(of: 3) { masks.append(PaddingMask()) }
    if one(of: 5) { masks.append(BlockMask(path: "blocks")) }
    if one(of: 7), tokens == keyTokens { masks.append(StarMask()) }
    if isLong || projections { return }
    pairing = one(of: 2) ? RotaryPositions.Pairing.allCases.randomElement(using: &random) : nil
    decays = one(of: 2)
    if one(of: 5) {
      let first = number(0...keyTokens - 1)
      let globals = one(of: 3) ? [] : [first..<min(keyTokens, first + number(1...3))]
      let others = masks.filter { $0 is CausalMask || $0 is PaddingMask }
      masks = [EtcMask(radius: number(0...20), globals: GlobalMask(tokens: globals))] + others
    } else {
      cached = one(of: 3)
      if cached {
        masks.removeAll {
          $0 is CausalMask || $0 is WindowMask || $0 is SinkMask || $0 is GlobalMask
        }
        masks =
          [CausalMask(), WindowMask(width: number(1...30)), SinkMask(count: number(1...5))]
          + masks
        alibi = alibi || pairing == nil
      }
      if one(of: 3) { bias = (one(of: 2), one(of: 2)) }
    }
    guard pairing != nil || bias != nil || etc != nil else { return }
    // Rows are rounded as they were turned.
    (wire, arithmetic) = (.f32, .f32)
  }

  /// Of xPos.
  private var groupLength: Int? { [nil, 16, 4][Int(seed % 3)] }

  private var etc: EtcMask? { masks.lazy.compactMap { $0 as? EtcMask }.first }

  /// The sinks of a cache, if the masks are those of one.
  private var sinks: (count: Int, window: Int)? {
    guard cached, pairing != nil || alibi, masks.contains(where: { $0 is CausalMask }),
      let window = masks.lazy.compactMap({ $0 as? WindowMask }).first, window.dilation == 1,
      let sinks = masks.lazy.compactMap({ $0 as? SinkMask }).first
    else { return nil }
    return (sinks.count, window.width)
  }

  private func placement(_ inputs: MaskInputs) -> PlacedTokens {
    let windows = masks.lazy.compactMap { $0 as? ParallelWindowMask }.first
    var placement = PlacedTokens(batch: batch, tokens: tokens, keyTokens: keyTokens)
    if let windows, etc == nil {
      let positions = windows.positions(inputs)
      placement = PlacedTokens(queries: positions.queries, keys: positions.keys)
    }
    placement.rotation = pairing.map {
      RotaryPositions($0, columns: headDim / 2 * 2, tokens: keyTokens)
    }
    placement.decays = decays && masks.contains { $0 is CausalMask }
    placement.sinks = sinks
    return placement
  }

  var description: String {
    let flags = [
      softcap ? "soft cap" : nil, alibi ? "alibi" : nil, hasSinks ? "learned sinks" : nil,
      projections ? "projections" : nil, pairing.map { "\($0) turns" }, decays ? "decay" : nil,
      cached ? "cache" : nil, bias.map { "bias \($0)" },
    ].compactMap { $0 }
    return "seed \(seed) on \(ranks) ranks: \(PatternChoice(masks)), \(batch) x \(tokens) of "
      + "\(keyTokens), heads \(heads), head dim \(headDim), \(flags), \(layout), \(way.route), "
      + "\(way.backward), \(wire), \(accumulation), \(arithmetic), \(threads) threads"
  }

  private var inputs: MaskInputs {
    var inputs = PatternChoice(masks).drawnInputs(
      batch: batch, queryHeads: heads.query, tokens: tokens, keyTokens: keyTokens, seed: seed)
    let blocks = [heads.query, (tokens + 8) / 9, (keyTokens + 30) / 31]
    let isSet = (0..<blocks.reduce(1, *)).map { (block: Int) -> Int32 in
      block * 31 % 7 < 4 ? 1 : 0
    }
    inputs.add(MaskTable(shape: blocks, numbers: isSet), as: "block_mask")
    if seed % 2 == 0 { return inputs }
    // Documents and windows in pieces, with others between them.
    for name in ["segment_ids", "key_segment_ids"] {
      guard let table = inputs.tables[name] else { continue }
      inputs.add(
        MaskTable(shape: table.shape, numbers: table.numbers.map { $0 < 0 ? $0 : $0 % 3 }),
        as: name)
    }
    return inputs
  }

  /// The rules of the kernels and of the oracle, of sinks of a cache or of other keys.
  private func rules(
    _ inputs: MaskInputs, _ placement: PlacedTokens, forSinks: Bool, bias parts: [BiasPart] = []
  ) -> (kernels: (any ScoreRule)?, oracle: (any ReferenceScoreRule)?) {
    var reference: [any ReferenceScoreRule] = []
    if softcap { reference.append(ReferenceSoftCap(limit: 2)) }
    if alibi {
      reference.append(
        ReferenceAlibi(
          slopes: ReferenceAlibi.slopes(heads: heads.query),
          positions: placement.reference(forSinks: forSinks)))
    }
    if masks.contains(where: { $0 as? ParallelWindowMask == .structured }) {
      let table = inputs.tables["key_segment_ids"] ?? inputs.tables["segment_ids"]
      let windows = (table?.numbers ?? []).map { Int($0) }
      reference.append(
        ReferenceOwnKeyWeight(
          windows: (0..<batch).map { Array(windows[$0 * keyTokens..<($0 + 1) * keyTokens]) }))
    }
    let kernels = RuleSequence.joining([
      softcap ? SoftCap(limit: 2) : nil,
      alibi
        ? Alibi(
          slopes: Alibi.slopes(heads: heads.query),
          queries: forSinks ? placement.placesForSinks : placement.places.queries,
          keys: placement.places.keys) : nil,
      parts.isEmpty ? nil : TensorBias(parts), PatternChoice(masks).scoreRule(inputs),
    ])
    return (kernels, reference.isEmpty ? nil : ReferenceRuleSequence(reference))
  }

  /// Why it is wrong, if it is on any rank; called by all ranks together.
  func failure(on world: borrowing Communicator) throws -> String? {
    var message: String?
    do { try check(on: world) } catch let error as MPIError { throw error } catch {
      message = "\(error)"
    }
    let failures = try world.allReduce(message == nil ? 0 : 1, with: .sum)
    return failures == 0 ? nil : message ?? "\(failures) other ranks"
  }

  private func check(on world: borrowing Communicator) throws {
    let (choice, inputs) = (PatternChoice(masks), inputs)
    let placement = placement(inputs)
    let rules = rules(inputs, placement, forSinks: false)
    let ofSinks = self.rules(inputs, placement, forSinks: true)
    var problem = Problem(
      shape: AttentionShape(
        batch: batch, queryHeads: heads.query, kvHeads: heads.kv, headDim: headDim,
        valueHeadDim: headDim),
      tokens: tokens, keyTokens: keyTokens, logits: 1, seed: 2000 + seed,
      scoreRule: rules.kernels,
      referenceRule: placement.rule(later: rules.oracle, sinks: ofSinks.oracle))
    if hasSinks { problem.sinks = (0..<heads.query).map { Float($0) - 1 } }
    if arithmetic == .bf16 { problem = problem.rounded }
    if wire == .bf16 { problem.roundKeys() }
    let attention = problem.attention(
      choice.pattern(inputs), layout: layout, ranks: ranks, wire: wire,
      accumulation: accumulation, arithmetic: arithmetic)
    var options = DistributedAttention.Options()
    options.topology = topology(for: way.route, ranks: ranks)
    options.backwardRoute = way.backward
    options.team = ThreadTeam(threads: threads)
    // With weights that are rounded to bf16.
    let isExact = arithmetic == .f32
    let (tolerance, ofGradients) = isExact ? (1e-5, 1e-4) : (6e-3, 2e-2)
    let mask = choice.bias(inputs)
    if projections, let globals = masks.lazy.compactMap({ $0 as? GlobalMask }).first {
      var split = GlobalSplit(problem, globals, seed: 3000 + seed)
      if isExact {
        if wire == .bf16 { split.global.roundKeys() }
      } else {
        split.global = split.global.rounded
      }
      return try split.check(
        attention, way.route, options, tolerance: tolerance, gradientTolerance: ofGradients,
        "projections", on: world, bias: mask)
    }
    if let etc {
      let labelled = Labelled(
        mask: etc, inputs: inputs, distance: 5, shape: problem.shape, seed: Int(seed))
      problem.referenceRule = ReferenceRuleSequence(
        [problem.referenceRule, labelled.rule(problem)].compactMap { $0 })
      return try labelled.check(
        problem, attention, way.route, options, "labels", placement: placement,
        groupLength: groupLength, isSmall: true, on: world, bias: mask)
    }
    try check(problem, attention, placement, inputs, options, tolerance, ofGradients, on: world) {
      mask($0, $1, $2, $3)
    }
  }

  /// Runs both passes where tokens stand, and compares all that they give, of a bias as well.
  private func check(
    _ problem: Problem, _ attention: ShardedAttention, _ placement: PlacedTokens,
    _ inputs: MaskInputs, _ options: DistributedAttention.Options, _ tolerance: Double,
    _ ofGradients: Double, on world: borrowing Communicator,
    mask: (_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double
  ) throws {
    // Sinks that are computed apart are met by a rank's own queries.
    let isApart = placement.sinks != nil && !(placement.decays && pairing != nil)
    let route = isApart && bias != nil ? .ring : way.route
    var options = options
    if isApart && bias != nil { options.backwardRoute = .keys }
    let added = bias.map {
      BiasCase(
        source: RandomBias(
          shape: [$0.ofBatch ? 1 : batch, $0.ofHeads ? 1 : heads.query, tokens, keyTokens],
          seed: seed, tensor: 5))
    }
    let backward = RoutePlanner(
      attention, topology: options.topology ?? Topology(ranks: ranks, ranksPerNode: 1)
    ).backwardDecision(options.backwardRoute, after: route).travelling
    let parts = try added?.parts(attention, route, backward: backward, rank: world.rank) ?? []
    func rule(forSinks: Bool) -> (any ScoreRule)? {
      rules(inputs, placement, forSinks: forSinks, bias: parts).kernels
    }
    let passes = try placement.run(
      problem, attention.with(scoreRule: rule(forSinks: false)), sinkRule: rule(forSinks: true),
      route, groupLength: groupLength, options, on: world)
    func all(_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double {
      let hidden = mask(b, i, j, h)
      return hidden == -.infinity ? hidden : hidden + (added?.value(b, i, j, h) ?? 0)
    }
    let wide = placement.wide(problem)
    let expected = try wide.expected(on: world, all)
    try problem.check(
      passes, placement.narrow(expected, problem), attention, rank: world.rank,
      tolerance: tolerance, gradientTolerance: ofGradients, "plain")
    if let added, let part = parts.last {
      try part.joinHeads(on: route, of: world)
      try added.check(part, wide, expected, "bias", all)
    }
  }

  /// The same with something less.
  var smaller: [Combination] {
    func changed(_ change: (inout Combination) -> Void) -> Combination {
      var copy = self
      change(&copy)
      return copy
    }
    var all = masks.indices.map { index in changed { $0.masks.remove(at: index) } }
    if tokens == keyTokens, tokens > 1 {
      all.append(changed { ($0.tokens, $0.keyTokens) = (tokens / 2, tokens / 2) })
    }
    if softcap { all.append(changed { $0.softcap = false }) }
    if alibi { all.append(changed { $0.alibi = false }) }
    if hasSinks { all.append(changed { $0.hasSinks = false }) }
    if projections { all.append(changed { $0.projections = false }) }
    if pairing != nil { all.append(changed { $0.pairing = nil }) }
    if decays { all.append(changed { $0.decays = false }) }
    if cached { all.append(changed { $0.cached = false }) }
    if bias != nil { all.append(changed { $0.bias = nil }) }
    if batch > 1 { all.append(changed { $0.batch = 1 }) }
    if heads.query > 1 { all.append(changed { $0.heads = (1, 1) }) }
    if layout != .contiguous { all.append(changed { $0.layout = .contiguous }) }
    if way.route != .ring { all.append(changed { $0.way = (.ring, .keys) }) }
    if wire != .f32 { all.append(changed { $0.wire = .f32 }) }
    if accumulation != .fast { all.append(changed { $0.accumulation = .fast }) }
    if arithmetic != .f32 { all.append(changed { $0.arithmetic = .f32 }) }
    if threads > 1 { all.append(changed { $0.threads = 1 }) }
    return all
  }
}
