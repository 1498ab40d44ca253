import Attention
import MPI
import SequenceParallel
import Sharding

/// What the planner says of a route is what is counted where messages are handed to MPI: bytes and
/// messages of every rank, by every route, with masks and layouts in turn.
func checkRouteTraffic(_ world: borrowing Communicator) throws {
  let ranks = world.size
  let shape = AttentionShape(
    batch: 2, queryHeads: 6, kvHeads: 3, headDim: 12, valueHeadDim: 20)
  for (tokens, keyTokens) in [(41 * ranks + 3, 41 * ranks + 3), (7, 90), (max(1, ranks - 1), 3)] {
    let problem = Problem(
      shape: shape, tokens: tokens, keyTokens: keyTokens, logits: 1, seed: 12)
    for (maskTurn, mask) in MaskCase.all(tokens: tokens, keyTokens: keyTokens).enumerated() {
      for (turn, layout) in Layout.allCases.enumerated() {
        for (index, (route, backward)) in ways(ranks: ranks).enumerated()
        where (index + 5 * turn + 3 * maskTurn + tokens) % 13 == 0 {
          let accumulation: Accumulation = index % 3 == 0 ? .reproducible : .fast
          let attention = problem.attention(
            mask.pattern, layout: layout, ranks: ranks, wire: WireType.allCases[index % 4],
            accumulation: accumulation)
          var options = DistributedAttention.Options()
          options.backwardRoute = backward
          // Hosts of three, the last of which has fewer.
          let topology = Topology(ranks: ranks, ranksPerNode: route.grouping == .all ? ranks : 3)
          options.topology = topology
          let passes = try problem.run(attention, route, options: options, on: world)
          try requireTraffic(
            passes, RoutePlanner(attention, topology: topology), route, backward: backward,
            world.rank, "\(route), \(backward), \(mask.name), \(layout), \(tokens) tokens")
        }
      }
    }
  }
}

/// Throws unless this rank has sent what the planner says.
func requireTraffic(
  _ passes: borrowing Passes, _ planner: RoutePlanner, _ route: Route, backward: BackwardRoute,
  _ rank: Int, _ name: String
) throws {
  let backward = planner.backwardDecision(backward, after: route).route
  let planned = [planner.traffic(on: route, .forward), planner.traffic(on: backward, .backward)]
  for (traffic, counted) in zip(planned, [passes.forwardTraffic, passes.backwardTraffic]) {
    try require(
      Double(counted.bytesSent) == traffic.bytesSent[rank]
        && counted.messagesSent == traffic.messagesSent[rank],
      "\(name): \(counted), not \(traffic.bytesSent[rank]) bytes in "
        + "\(traffic.messagesSent[rank]) messages")
    try require(
      traffic.bytesToOtherHosts[rank] <= traffic.bytesSent[rank]
        && traffic.exchangedBytes[rank] <= traffic.bytesSent[rank],
      "\(name): more than all is a part of it")
  }
}

/// Combinations that make no sense are refused on all ranks alike, each with its reason.
func checkRouteRefusal(_ world: borrowing Communicator) throws {
  let ranks = world.size
  let shape = AttentionShape(
    batch: 1, queryHeads: 2, kvHeads: 2, headDim: 8, valueHeadDim: 8)
  let attention = Problem(shape: shape, tokens: 9, keyTokens: 9, logits: 1, seed: 1)
    .attention(FullPattern(), layout: .zigzag, ranks: ranks)
  var refused: [(Route, BackwardRoute, String)] = [
    (Route(grouping: .hosts, delivery: .direct), .automatic, "use 'hierarchical'"),
    (Route(grouping: .all, delivery: .direct), .automatic, "use 'shared'"),
  ]
  if ranks > 1 {
    refused += [
      (.heads, .queries, "route of queries"), (.heads.with(.queries), .keys, "--travel queries"),
      (Route(grouping: .hosts, heads: .everybody), .keys, "nothing travels"),
      (.ring, .route(.heads), "share them differently"),
      (.ring, .route(Route(grouping: .all, delivery: .direct)), "use 'shared'"),
      (.shared, .automatic, "on one host"),
    ]
  }
  for (route, backward, words) in refused {
    var options = DistributedAttention.Options()
    options.backwardRoute = backward
    options.topology = Topology(ranks: ranks, ranksPerNode: 1)
    do {
      let engine = try DistributedAttention(
        attention, route: route, options: options, on: world)
      try engine.close()
    } catch let error as RouteError {
      try require(error.description.contains(words), "\(route), \(backward): \(error)")
      continue
    }
    throw CheckFailure("\(route), \(backward) was taken")
  }
}
