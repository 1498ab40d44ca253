import Attention
import MPI
import SequenceParallel
import Sharding
import Tensors

/// Global tokens with projections of their own: the rows of two problems, each of some queries.
func checkGlobalProjections(_ world: borrowing Communicator) throws {
  let ranks = world.size
  // What is computed in two parts goes each way alike; other checks take all of them.
  let some = ways(ranks: ranks).enumerated().filter { $0.offset % 3 == 0 }.map(\.element)
  for (index, (route, backward)) in some.enumerated() {
    let tokens = [20 * ranks + 3, 37, 11 * ranks + 1][index % 3]
    let keyTokens = tokens + [0, 5][index / 2 % 2]
    let (queryHeads, kvHeads) = [(3, 3), (4, 2), (6, 1)][index % 3]
    let shape = AttentionShape(
      batch: 2, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 20, valueHeadDim: 16)
    // The first keys have no queries where there are more keys; all tokens may be global.
    let globals = [[0..<1, 9..<12], [3..<4], [0..<keyTokens], [keyTokens - 1..<keyTokens]]
    let mask = GlobalMask(tokens: globals[index / 2 % 4])
    let choice = PatternChoice(
      [WindowMask(width: [4, keyTokens][index / 4 % 2]), mask, PaddingMask()]
        + (index % 3 == 0 ? [CausalMask()] : []))
    let inputs = choice.drawnInputs(
      batch: 2, queryHeads: queryHeads, tokens: tokens, keyTokens: keyTokens,
      seed: UInt64(index))
    var problem = Problem(
      shape: shape, tokens: tokens, keyTokens: keyTokens, logits: 1, seed: 1400 + UInt64(index))
    if index % 4 == 1 { problem.sinks = (0..<queryHeads).map { Float($0) - 1 } }
    let attention = problem.attention(
      choice.pattern(inputs), layout: Layout.allCases[index % 4], ranks: ranks,
      accumulation: index % 5 == 4 ? .reproducible : .fast)
    var options = DistributedAttention.Options()
    options.topology = topology(for: route, ranks: ranks)
    options.backwardRoute = backward
    options.team = ThreadTeam(threads: 1 + index / 2 % 2)
    let split = GlobalSplit(problem, mask, seed: 1500 + UInt64(index))
    try split.check(
      attention, route, options, tolerance: 1e-5, gradientTolerance: 1e-4,
      "\(route), \(backward), \(choice), \(tokens) tokens", on: world
    ) { choice.bias(inputs)($0, $1, $2, $3) }
  }
}

/// A problem of which some rows are those of another.
struct GlobalSplit {
  let problem: Problem
  /// With other queries, keys and values.
  var global: Problem
  let queries: (global: [Range<Int>], others: [Range<Int>])

  init(_ problem: Problem, _ mask: GlobalMask, seed: UInt64) {
    self.problem = problem
    var global = problem
    let other = Problem(
      shape: problem.shape, tokens: problem.tokens, keyTokens: problem.keyTokens, logits: 1,
      seed: seed)
    (global.q, global.k, global.v) = (other.q, other.k, other.v)
    self.global = global
    queries = mask.queries(of: problem.tokens, offset: problem.keyTokens - problem.tokens)
  }

  /// Runs both passes, and throws unless all that they give is the oracle's; called by all ranks
  /// together.
  func check(
    _ attention: ShardedAttention, _ route: Route, _ options: DistributedAttention.Options,
    tolerance: Double, gradientTolerance: Double, _ name: String,
    on world: borrowing Communicator,
    bias: (_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double
  ) throws {
    let own = try attention.loadQueries(problem.q, rank: world.rank)
    let outputGradient = try problem.outputGradient.read(shard: own.runs)
    let planner = RoutePlanner(
      attention.seen(by: queries.global),
      topology: options.topology ?? Topology(ranks: world.size, ranksPerNode: 1))
    var engine = try GlobalProjectionAttention(
      attention, queries: queries, projections: .init(q: global.q, k: global.k, v: global.v),
      route: route, globalRoute: GlobalProjections.route(of: planner, after: route),
      options: options, on: world)
    try engine.load(keys: problem.k, values: problem.v)
    let output = try engine.forward(own) { _ in }
    var gradients = try engine.backward(own, output: output, outputGradient: outputGradient) { _ in
    }
    let traffic = engine.traffic
    try engine.close()
    func isGlobal(_ query: Int) -> Bool { queries.global.contains { $0.contains(query) } }
    let ofOthers = try problem.expected(on: world) {
      isGlobal($1) ? -.infinity : bias($0, $1, $2, $3)
    }
    let ofGlobals = try global.expected(on: world) {
      isGlobal($1) ? bias($0, $1, $2, $3) : -.infinity
    }
    let row = problem.shape.queryHeads * problem.shape.valueHeadDim
    func chosen(_ index: Int, _ others: [Double], _ global: [Double], of query: Int) -> Double {
      isGlobal(query) ? global[index] : others[index]
    }
    let expected = Expected(
      o: ofOthers.o.indices.map {
        chosen($0, ofOthers.o, ofGlobals.o, of: $0 / row % problem.tokens)
      },
      lse: ofOthers.lse.indices.map {
        chosen($0, ofOthers.lse, ofGlobals.lse, of: $0 % problem.tokens)
      },
      dq: ofOthers.dq, dk: ofOthers.dk, dv: ofOthers.dv,
      dsinks: zip(ofOthers.dsinks, ofGlobals.dsinks).map { $0 + $1 })
    guard let projections = gradients.ofGlobals.take() else {
      return try require(false, "\(name): no gradients of projections")
    }
    let dsinks = gradients.dsinks
    var passes = Passes(
      output: output, gradients: gradients, forwardTraffic: traffic, backwardTraffic: .zero,
      backward: .keys)
    try problem.check(
      passes, expected, attention, rank: world.rank, tolerance: tolerance,
      gradientTolerance: gradientTolerance, name)
    var ofProjections = AttentionGradients(
      dq: projections.dq, dk: projections.dk, dv: projections.dv)
    ofProjections.dsinks = dsinks
    passes.gradients = ofProjections
    try problem.check(
      passes,
      Expected(
        o: expected.o, lse: expected.lse, dq: ofGlobals.dq, dk: ofGlobals.dk, dv: ofGlobals.dv,
        dsinks: expected.dsinks), attention, rank: world.rank, tolerance: tolerance,
      gradientTolerance: gradientTolerance, "\(name), projections")
  }
}
