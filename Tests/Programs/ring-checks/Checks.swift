import Attention
import MPI
import PairwiseRoute
import SequenceParallel
import Sharding
import Tensors

/// The test protocol: every length, head grouping, head dim, magnitude and mask, by every way in
/// turn.
func checkGrid(_ world: borrowing Communicator) throws {
  let ranks = world.size
  var seed: UInt64 = 0
  for tokens in Set([1, max(1, ranks - 1), ranks, ranks + 1, 37, 64]).sorted() {
    for (queryHeads, kvHeads) in [(1, 1), (4, 4), (4, 2), (6, 1)] {
      for headDim in [4, 64] {
        for logits: Float in [1, 100] {
          seed += 1
          let shape = AttentionShape(
            batch: 1 + Int(seed % 2), queryHeads: queryHeads, kvHeads: kvHeads, headDim: headDim,
            valueHeadDim: seed % 3 == 0 ? headDim + 3 : headDim)
          // Now and then more keys than queries, or fewer, down to none.
          let keyTokens = seed % 5 == 0 ? tokens / 2 : seed % 7 == 0 ? tokens + 9 : tokens
          let problem = Problem(
            shape: shape, tokens: tokens, keyTokens: keyTokens, logits: logits, seed: seed)
          for (index, mask) in MaskCase.all(
            tokens: tokens, keyTokens: keyTokens, turn: seed
          ).enumerated() {
            let expected = try problem.expected(mask, on: world)
            // Layouts and ways take turns; `checkTransports` has all of them on the same problem.
            let ways = ways(ranks: ranks)
            let turn = Int(seed) + index
            let layout = Layout.allCases[(turn + turn / ways.count) % 4]
            let (route, backward) = ways[turn % ways.count]
            var options = DistributedAttention.Options()
            options.backwardRoute = backward
            options.team = ThreadTeam(threads: 1 + Int(seed % 2))
            options.topology = topology(for: route, ranks: ranks)
            let attention = problem.attention(mask.pattern, layout: layout, ranks: ranks)
            let passes = try problem.run(attention, route, options: options, on: world)
            // Rounding of scores as large as these moves a weight by about this much; queries a
            // hundred times as large make gradients so, of which cancellation may leave nothing.
            let ofScores = logits == 1 ? 0 : expected.largestScore * 0x1p-24 * 4
            try problem.check(
              passes, expected, attention, rank: world.rank,
              tolerance: max(1e-5, ofScores), gradientTolerance: logits == 1 ? 1e-4 : 1e-3,
              "\(route), \(backward), \(mask.name), \(layout), \(tokens) tokens, "
                + "\(keyTokens) keys, \(shape)")
          }
        }
      }
    }
  }
}

/// All routes, in every grouping, on shards that are uneven or empty.
func checkTransports(_ world: borrowing Communicator) throws {
  let ranks = world.size
  var seed: UInt64 = 100
  for tokens in [ranks, max(1, ranks - 1), 30 * ranks + 3] {
    for (queryHeads, kvHeads) in [(3, 3), (4, 2), (3, 1), (6, 3)] {
      seed += 1
      let shape = AttentionShape(
        batch: 2, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 20, valueHeadDim: 16)
      let problem = Problem(
        shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: seed)
      let masks = MaskCase.all(tokens: tokens, keyTokens: tokens).prefix(3)
      for (maskTurn, mask) in masks.enumerated() {
        let expected = try problem.expected(mask, on: world)
        for (turn, layout) in Layout.regular.enumerated() {
          let attention = problem.attention(mask.pattern, layout: layout, ranks: ranks)
          // A part of the ways for each problem, so that each way meets every mask, every layout,
          // every length and three of the four divisions into heads. Heads that two ranks read in
          // part are of interest only where ranks share heads.
          let ways = queryHeads < 6 ? ways(ranks: ranks) : meshes(ranks: ranks)
          for (index, (route, backward)) in ways.enumerated()
          where (index + 7 * turn + 6 * maskTurn + 5 * Int(seed)) % 11 == 0 {
            let groupings = [[1, 3], [2, ranks]][Int(seed) % 2]
            for ranksPerNode in route.grouping == .hosts ? groupings : [ranks] {
              for overlaps in layout == .zigzag && mask.name == "causal" ? [true, false] : [true] {
                var options = DistributedAttention.Options()
                options.topology = Topology(ranks: ranks, ranksPerNode: ranksPerNode)
                options.overlaps = overlaps
                options.backwardRoute = backward
                let passes = try problem.run(attention, route, options: options, on: world)
                try problem.check(
                  passes, expected, attention, rank: world.rank, tolerance: 1e-5,
                  gradientTolerance: 1e-4,
                  "\(route) of \(ranksPerNode), \(backward), \(mask.name), \(layout), "
                    + "\(tokens) tokens, \(shape)")
              }
            }
          }
        }
      }
    }
  }
}

/// All routes with all that can travel backward.
func ways(ranks: Int) -> [(Route, BackwardRoute)] {
  [
    (.ring, .keys), (.query, .queries), (.shared, .keys), (.ring, .queries),
    (.hierarchical, .keys), (.allgather, .queries), (.query, .keys), (.hierarchical, .queries),
    (.allgather, .keys), (.shared, .queries), (.hierarchical.with(.queries), .automatic),
    (.shared.with(.queries), .keys), (.allgather.with(.queries), .queries),
    (.hierarchical.with(.queries), .keys), (.allgather.with(.queries), .keys),
    (.shared.with(.queries), .queries),
    // Passes that have nothing in common.
    (.allgather, .route(.hierarchical)), (.hierarchical, .route(.query)),
    (.query, .route(.allgather)),
    // The example of Docs/Extend-Route.md.
    (.pairwise, .keys), (.pairwise.with(.queries), .queries),
  ] + meshes(ranks: ranks)
}

/// Every mesh; that of one column is a ring, and that of one row has a name of its own.
///
/// Blocks of columns go in turn by each route that there is.
func meshes(ranks: Int) -> [(Route, BackwardRoute)] {
  let grids = (2...max(2, ranks)).filter { $0 < ranks && ranks % $0 == 0 }
  let columns: [(Route, BackwardRoute)] = [
    (.ring, .keys), (.allgather, .keys), (.hierarchical, .queries), (.query, .queries),
    (.hierarchical.with(.queries), .keys), (.ring, .queries), (.allgather.with(.queries), .queries),
    (.pairwise, .queries),
  ]
  return [(.heads, .keys)]
    + grids.flatMap { heads in
      columns.map { column, backward in
        var route = column
        route.heads = .grid(columns: heads, rows: ranks / heads)
        return (route, backward)
      }
    }
}

/// Hosts on which a route can be tried: one where all ranks read each other's blocks, else of two
/// ranks each.
func topology(for route: Route, ranks: Int) -> Topology {
  Topology(ranks: ranks, ranksPerNode: route.grouping == .all ? ranks : 2)
}

/// Blocks well above every eager limit, of sizes that do not divide: small ones hide deadlocks.
func checkLargeBlocks(_ world: borrowing Communicator) throws {
  try checkLargeBlocks(.ring, wires: WireType.allCases, world)
  try checkLargeBlocks(.query, wires: WireType.allCases, world)
  try checkLargeBlocks(.heads, wires: [.f32, .int8], world)
  try checkLargeBlocks(.allgather.with(.queries), wires: [.f32], world)
  if world.size % 2 == 0 {
    let mesh = Route.mesh(heads: 2, ring: world.size / 2)
    try checkLargeBlocks(mesh, wires: [.f32, .f16], world)
    // A mesh of one row has nothing on its way between columns.
    if world.size > 2 { try checkLargeBlocks(mesh.with(.queries), wires: [.f32], world) }
  }
}

private func checkLargeBlocks(
  _ route: Route, wires: [WireType], _ world: borrowing Communicator
) throws {
  // Many heads rather than many tokens, which all ranks would have to compute with all others'.
  let shape = AttentionShape(
    batch: 1, queryHeads: 8, kvHeads: 8, headDim: 128, valueHeadDim: 128)
  let tokens = 139 * world.size + 5
  for wire in wires {
    let attention = ShardedAttention(
      shape: shape, queries: Sharding(.zigzag, tokens: tokens, ranks: world.size),
      keys: Sharding(.zigzag, tokens: tokens, ranks: world.size), pattern: CausalPattern(),
      wire: wire)
    try require(attention.blockBytes[world.rank] > 256 << 10, "the block is small")
    let rows = (0..<4).map {
      RandomRows(shape: [1, tokens, 8, 128], seed: 11, tensor: UInt64($0))
    }
    var engine = try DistributedAttention(attention, route: route, on: world)
    try engine.withOwnBlock { block in
      try attention.load(keys: rows[1], values: rows[2], rank: world.rank, into: &block)
    }
    let queries = try attention.loadQueries(rows[0], rank: world.rank)
    let output = try engine.forward(queries)
    let finding = try SampledCheck(of: attention, rows: 12) { i, j, _ in
      j <= i ? 0 : -.infinity
    }.run(output, q: rows[0], k: rows[1], v: rows[2], on: world)
    try require(finding.rows == 12, "\(finding.rows) rows were checked")
    try require(finding.holds, "\(route), \(wire): error \(finding.maxError)")
    let outputGradient = try rows[3].read(shard: queries.runs)
    let gradients = try engine.backward(
      queries, output: output, outputGradient: outputGradient)
    let gradientFinding = try SampledGradientCheck(of: attention, rows: 4) { i, j, _ in
      j <= i ? 0 : -.infinity
    }.run(
      gradients, output, q: rows[0], k: rows[1], v: rows[2], outputGradient: rows[3], on: world)
    try require(
      gradientFinding.holds, "\(wire), \(route): gradients \(gradientFinding.maxError)")
    // Rounded inputs must show, and nothing may hide behind them.
    try require(
      wire == .f32
        ? finding.maxError < 1e-5
        : finding.maxError > 1e-5 && finding.tolerance < finding.maxError + 3e-5,
      "\(route), \(wire): error \(finding.maxError) is not of the wire's size")
  }
}

/// Bytes and messages are those of the formulas, counted where they are handed to MPI.
func checkTraffic(_ world: borrowing Communicator) throws {
  let ranks = world.size
  let shape = AttentionShape(
    batch: 2, queryHeads: 4, kvHeads: 2, headDim: 20, valueHeadDim: 12)
  // Bytes of a key and its value.
  let widths = [(WireType.f32, 32 * 4), (.f16, 32 * 2), (.bf16, 32 * 2), (.int8, 32 + 2 * 4)]
  for (wire, width) in widths {
    for tokens in [6 * ranks, 211 * ranks + 3] {
      let problem = Problem(
        shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 5)
      for layout in Layout.regular {
        for isCausal in [false, true] {
          let pattern: any AttentionPattern = isCausal ? CausalPattern() : FullPattern()
          let attention = problem.attention(pattern, layout: layout, ranks: ranks, wire: wire)
          var options = DistributedAttention.Options()
          options.backwardRoute = .keys
          let passes = try problem.run(attention, options: options, on: world)
          let name = "\(layout), \(isCausal ? "causal" : "full"), \(wire)"
          // Under a causal mask a contiguous block is of use only to later ranks, and the last
          // tokens of a zigzag shard only to earlier ones. Gradients are in Float.
          let expected = ExpectedTraffic(attention, .keys) { !isCausal || $1 <= $0 }
          try expected.check(
            passes.forwardTraffic, rank: world.rank, block: 2 * 2 * width, result: 0, name)
          try expected.check(
            passes.backwardTraffic, rank: world.rank, block: 2 * 2 * width,
            result: 2 * 2 * (20 + 12) * 4, name)
          // Without a mask all blocks but the own one come, and all but one go on.
          if !isCausal {
            let keys = tokens - attention.keys.tokenCount(of: (world.rank + 1) % ranks)
            try require(
              passes.forwardTraffic.bytesSent == 2 * keys * 2 * width
                && passes.forwardTraffic.messagesSent == ranks - 1, "\(name): not all is sent")
          }
        }
      }
    }
  }
}

/// The check itself must notice one wrong number on one rank.
func checkSampledCheck(_ world: borrowing Communicator) throws {
  let shape = AttentionShape(
    batch: 2, queryHeads: 2, kvHeads: 1, headDim: 16, valueHeadDim: 16)
  let problem = Problem(shape: shape, tokens: 29, keyTokens: 29, logits: 1, seed: 1)
  let attention = problem.attention(CausalPattern(), layout: .zigzag, ranks: world.size)
  let check = SampledCheck(of: attention, rows: 58) { i, j, _ in j <= i ? 0 : -.infinity }

  let right = try problem.run(attention, on: world)
  let finding = try check.run(
    right.output, q: problem.q, k: problem.k, v: problem.v, on: world)
  try require(finding.rows == 58 && finding.holds, "a right result: \(finding)")

  for wrongValue: Float in [0.5, .nan, .infinity] {
    let result = try problem.run(attention, on: world)
    let isOwner = attention.queries.owner(of: 28).rank == world.rank
    let wrong = AttentionOutput(
      o: result.output.o.copy(addingToLast: 0),
      lse: result.output.lse.copy(addingToLast: isOwner ? wrongValue : 0))
    let finding = try check.run(
      wrong, q: problem.q, k: problem.k, v: problem.v, on: world)
    try require(!finding.holds, "an error of \(wrongValue) went unnoticed: \(finding)")
  }
}
