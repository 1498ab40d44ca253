import Attention
import MPI
import SequenceParallel
import Sharding
import Tensors

/// Of a shard of several runs only those travel that others see.
///
/// Sinks go without what follows them, the halo of a window without the rest. Results are the
/// oracle's, and bytes those that positions say.
func checkRuns(_ world: borrowing Communicator) throws {
  try checkSinks(world)
  try checkHalo(world)
  try checkDealtRuns(world)
  try checkRunBits(world)
}

/// Shards in which the sinks, and what the next rank sees, are runs of their own.
private func checkSinks(_ world: borrowing Communicator) throws {
  let ranks = world.size
  let (sinks, width) = (4, 24)
  // 8 KiB a token.
  let shape = AttentionShape(
    batch: 1, queryHeads: 8, kvHeads: 8, headDim: 128, valueHeadDim: 128)
  let tokens = 33 * ranks + 5
  let problem = Problem(shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 20)
  let halo = width - 1
  let whole = Sharding(.contiguous, tokens: tokens, ranks: ranks).shards.map { $0[0] }
  let keys = whole.map { run in
    let (first, end) = (run.start == 0 ? sinks : 0, run.count - halo)
    return [run.slice(0..<first), run.slice(first..<end), run.slice(end..<run.count)]
  }
  // Those that see the tokens of the rank before.
  let queries = whole.map { [$0.slice(0..<halo), $0.slice(halo..<$0.count)] }
  let mask = SinkWindow(width: width, sinks: sinks)
  let attention = problem.attention(
    mask.pattern, queries: try Sharding(shards: queries, tokens: tokens),
    keys: try Sharding(shards: keys, tokens: tokens))
  let received = try checkRuns(
    problem, attention, mask, every: 3, byToken: true, "sinks and a window", world)
  // Four sink tokens and the halo come to every rank but the first.
  let needed = world.rank == 0 ? 0 : sinks + halo
  try require(
    received == needed * 8 * 256 * 4, "\(received) bytes came for \(needed) tokens")
}

/// Contiguous shards: runs are cut where what others see of them ends.
private func checkHalo(_ world: borrowing Communicator) throws {
  let ranks = world.size
  let (sinks, width) = (3, 24)
  let shape = AttentionShape(
    batch: 1, queryHeads: 3, kvHeads: 3, headDim: 132, valueHeadDim: 128)
  let tokens = 101 * ranks + 2
  let problem = Problem(shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 21)
  let sharding = Sharding(.contiguous, tokens: tokens, ranks: ranks)
  let mask = SinkWindow(width: width, sinks: sinks)
  let attention = problem.attention(mask.pattern, queries: sharding, keys: sharding)
  let received = try checkRuns(
    problem, attention, mask, every: 4, byToken: true, "a halo", world)
  let needed = world.rank == 0 ? 0 : sinks + width - 1
  try require(
    received == needed * 3 * 260 * 4, "\(received) bytes came for \(needed) tokens")
}

/// Short runs, dealt out anyhow, queries and keys differently.
private func checkDealtRuns(_ world: borrowing Communicator) throws {
  let shape = AttentionShape(
    batch: 2, queryHeads: 4, kvHeads: 2, headDim: 20, valueHeadDim: 12)
  let tokens = 43 * world.size + 7
  let problem = Problem(shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 22)
  let mask = SinkWindow(width: 30, sinks: 9)
  for seed in [1, 2] as [UInt64] {
    let queries = try dealt(tokens: tokens, ranks: world.size, longest: 40, seed: seed)
    let keys = try dealt(tokens: tokens, ranks: world.size, longest: 40, seed: seed + 10)
    for wire in [WireType.f32, .int8] {
      let attention = problem.attention(
        mask.pattern, queries: queries, keys: keys, wire: wire)
      _ = try checkRuns(
        problem, attention, mask, every: 5, byToken: false, "dealt runs \(seed), \(wire)", world)
    }
  }
}

/// Reproducible sums of leaves that are dealt out: the same bits on every way.
private func checkRunBits(_ world: borrowing Communicator) throws {
  let leaf = Accumulation.reproducible.granularity
  let tokens = 4 * leaf + 50
  let shape = AttentionShape(batch: 2, queryHeads: 2, kvHeads: 1, headDim: 8, valueHeadDim: 5)
  let problem = Problem(shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 23)
  let leaves = stride(from: 0, to: tokens, by: leaf).map {
    PositionRange($0..<min($0 + leaf, tokens))
  }
  var shards = [[PositionRange]](repeating: [], count: world.size)
  for (index, run) in leaves.enumerated() { shards[index * 3 % world.size].append(run) }
  let sharding = try Sharding(shards: shards, tokens: tokens)
  let attention = problem.attention(
    SinkWindow(width: 400, sinks: 2).pattern, queries: sharding, keys: sharding,
    accumulation: .reproducible)
  var expected: [UInt32]?
  for (index, (route, backward)) in ways(ranks: world.size).enumerated() where index % 4 == 0 {
    var options = DistributedAttention.Options()
    options.topology = topology(for: route, ranks: world.size)
    options.backwardRoute = backward
    let passes = try problem.run(attention, route, options: options, on: world)
    try requireTraffic(
      passes, RoutePlanner(attention, topology: topology(for: route, ranks: world.size)), route,
      backward: backward, world.rank, "leaves, \(route), \(backward)")
    if let expected {
      try require(passes.bits == expected, "leaves, \(route), \(backward): other bits")
    }
    expected = passes.bits
  }
}

/// Runs of at most `longest` tokens in an order of chance.
private func dealt(tokens: Int, ranks: Int, longest: Int, seed: UInt64) throws -> Sharding {
  var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
  func next(_ bound: Int) -> Int {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return Int(state >> 33) % bound
  }
  var shards = [[PositionRange]](repeating: [], count: ranks)
  var start = 0
  while start < tokens {
    let end = min(tokens, start + 1 + next(longest))
    let rank = next(ranks)
    shards[rank].insert(PositionRange(start..<end), at: next(shards[rank].count + 1))
    start = end
  }
  return try Sharding(shards: shards, tokens: tokens)
}

/// Runs both passes on the ring and to all at once, keys and queries travelling, and on some of all
/// ways.
///
/// - Parameter byToken: no token is to travel that is of no use, though its run is.
/// - Returns: the bytes of keys that came to this rank in the forward pass on the ring.
private func checkRuns(
  _ problem: Problem, _ attention: ShardedAttention, _ mask: SinkWindow, every step: Int,
  byToken: Bool, _ name: String, _ world: borrowing Communicator
) throws -> Int {
  let expected = try problem.expected(on: world) { i, j, _ in
    mask.sees(i, j) ? 0 : -.infinity
  }
  var received = 0
  let others = ways(ranks: world.size).enumerated().filter { $0.offset % step == 0 }.map(\.element)
  let usual: [(Route, BackwardRoute)] = [
    (.ring, .keys), (.query, .queries), (.allgather, .keys),
    (.allgather.with(.queries), .queries),
  ]
  for (route, backward) in usual + others {
    var options = DistributedAttention.Options()
    let topology = topology(for: route, ranks: world.size)
    options.topology = topology
    options.backwardRoute = backward
    let passes = try problem.run(attention, route, options: options, on: world)
    let name = "\(name), \(route), \(backward)"
    // Of int8 only what went wrong altogether is seen.
    let isExact = attention.wire == .f32
    try problem.check(
      passes, expected, attention, rank: world.rank, tolerance: isExact ? 1e-5 : 0.02,
      gradientTolerance: isExact ? 1e-4 : 0.05, name)
    try requireTraffic(
      passes, RoutePlanner(attention, topology: topology), route, backward: backward, world.rank,
      name)
    // What is known here is what goes round a ring or to all at once.
    guard route.heads == .nobody, route.grouping == .alone, route.travelling == passes.backward,
      backward == .keys || backward == .queries, [.rotating, .direct].contains(route.delivery)
    else { continue }
    let needed = ExpectedTraffic(attention, route.travelling, byToken: byToken, sees: mask.sees)
    for (pass, traffic) in [
      (AttentionPass.forward, passes.forwardTraffic), (.backward, passes.backwardTraffic),
    ] {
      let bytes = TravellingBytes(
        route.travelling, pass, shape: problem.shape, wire: attention.wire)
      try needed.check(
        traffic, rank: world.rank, direct: route.delivery == .direct, block: bytes.block,
        result: bytes.result, "\(name), \(pass)")
    }
    if route == .ring { received = passes.forwardTraffic.bytesReceived }
  }
  return received
}
