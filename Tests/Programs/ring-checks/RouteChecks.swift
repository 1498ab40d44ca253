import Attention
import MPI
import SequenceParallel
import Sharding

/// What travels backward: bytes by the formulas, the fewer of both, and the same bits.
func checkRoutes(_ world: borrowing Communicator) throws {
  try checkQueryTraffic(world)
  try checkAutomaticRoute(world)
  try checkFewQueries(world)
  try checkRouteBits(world)
}

/// Bytes and messages of travelling queries are those of the written-out formula.
private func checkQueryTraffic(_ world: borrowing Communicator) throws {
  let ranks = world.size
  let shape = AttentionShape(
    batch: 2, queryHeads: 4, kvHeads: 2, headDim: 20, valueHeadDim: 12)
  for tokens in [6 * ranks, 211 * ranks + 3] {
    let problem = Problem(
      shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 5)
    for layout in Layout.regular {
      for isCausal in [false, true] {
        let pattern: any AttentionPattern = isCausal ? CausalPattern() : FullPattern()
        // What keys travel in is nothing to queries.
        let attention = problem.attention(
          pattern, layout: layout, ranks: ranks, wire: isCausal ? .int8 : .f32)
        let passes = try problem.run(attention, .query, on: world)
        let name = "queries, \(layout), \(isCausal ? "causal" : "full"), \(tokens) tokens"
        // Queries go to the rank before. Under a causal mask those of a contiguous shard are of use
        // only to earlier ranks.
        let expected = ExpectedTraffic(attention, .queries) { !isCausal || $1 <= $0 }
        let row = 2 * 4
        try expected.check(
          passes.forwardTraffic, rank: world.rank, block: row * 20 * 4,
          result: row * (12 + 2) * 4, name)
        try expected.check(
          passes.backwardTraffic, rank: world.rank, block: row * ((20 + 12) * 4 + 12),
          result: row * 20 * 4, name)
      }
    }
  }
}

/// The automatic route is the one on which all ranks together send fewer bytes.
private func checkAutomaticRoute(_ world: borrowing Communicator) throws {
  var travelled: Set<Travelling> = []
  var turn = 0
  for (queryHeads, kvHeads) in [(4, 4), (4, 2), (4, 1)] {
    let shape = AttentionShape(
      batch: 1, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 16, valueHeadDim: 16)
    for (tokens, keyTokens) in [(61, 61), (9, 100), (100, 9)] {
      let problem = Problem(
        shape: shape, tokens: tokens, keyTokens: keyTokens, logits: 1, seed: 6)
      for (layout, wire) in [(Layout.contiguous, WireType.f32), (.zigzag, .f32), (.zigzag, .int8)] {
        // Kinds of sums in turn, and two routes for each problem.
        turn += 1
        let attention = problem.attention(
          CausalPattern(offset: keyTokens - tokens), layout: layout, ranks: world.size,
          wire: wire, accumulation: turn % 2 == 0 ? .fast : .reproducible)
        let routes = automaticRoutes(ranks: world.size)
        let first = turn % routes.count
        for route in [routes[first], routes[(first + 1 + turn / routes.count % 2) % routes.count]] {
          func bytes(_ backward: BackwardRoute) throws -> (sum: Int, travelling: Travelling) {
            var options = DistributedAttention.Options()
            options.topology = topology(for: route, ranks: world.size)
            options.backwardRoute = backward
            let passes = try problem.run(attention, route, options: options, on: world)
            return (
              try world.allReduce(passes.backwardTraffic.bytesSent, with: .sum), passes.backward
            )
          }
          let (keys, queries) = (try bytes(.keys), try bytes(.queries))
          let automatic = try bytes(.automatic)
          let expected = keys.sum <= queries.sum ? keys : queries
          try require(
            automatic == expected && keys.travelling == .keys
              && queries.travelling == .queries,
            "\(route), \(layout), \(wire), \(shape): \(automatic), not \(expected)")
          travelled.insert(automatic.travelling)
        }
      }
    }
  }
  try require(travelled.count == min(2, world.size), "only \(travelled) came up")
}

/// Routes on which both keys and queries can travel backward.
private func automaticRoutes(ranks: Int) -> [Route] {
  let routes = [Route.ring, .hierarchical, .allgather, .shared]
  return ranks % 2 == 0 && ranks > 2 ? routes + [.mesh(heads: 2, ring: ranks / 2)] : routes
}

/// One query against many keys: its rank sends it round, and other ranks have none.
private func checkFewQueries(_ world: borrowing Communicator) throws {
  let shape = AttentionShape(
    batch: 1, queryHeads: 4, kvHeads: 2, headDim: 20, valueHeadDim: 12)
  for (tokens, keyTokens) in [(1, 500), (0, 40), (3, 2)] {
    let problem = Problem(
      shape: shape, tokens: tokens, keyTokens: keyTokens, logits: 1, seed: 7)
    for mask in MaskCase.all(tokens: tokens, keyTokens: keyTokens).prefix(2) {
      let expected = try problem.expected(mask, on: world)
      for layout in Layout.regular {
        let attention = problem.attention(mask.pattern, layout: layout, ranks: world.size)
        let passes = try problem.run(attention, .query, on: world)
        try problem.check(
          passes, expected, attention, rank: world.rank, tolerance: 1e-5, gradientTolerance: 1e-4,
          "\(tokens) queries, \(keyTokens) keys, \(mask.name), \(layout)")
      }
    }
  }
}

/// Reproducible: the same bits on every route.
private func checkRouteBits(_ world: borrowing Communicator) throws {
  let tokens = 2 * Accumulation.reproducible.granularity + 50
  let shape = AttentionShape(
    batch: 1, queryHeads: 2, kvHeads: 1, headDim: 12, valueHeadDim: 9)
  let problem = Problem(
    shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 8)
  let attention = problem.attention(
    CausalPattern(), layout: .zigzag, ranks: world.size, accumulation: .reproducible)
  var expected: [UInt32]?
  for (route, backward) in ways(ranks: world.size) {
    var options = DistributedAttention.Options()
    options.topology = topology(for: route, ranks: world.size)
    options.backwardRoute = backward
    let bits = try problem.run(attention, route, options: options, on: world).bits
    if let expected { try require(bits == expected, "\(route), \(backward): other bits") }
    expected = bits
  }
}
