import Attention
import MPI
import SequenceParallel
import Sharding
import Tensors

/// Reproducible sums are the same bits by every transport, and messages are large.
func checkBits(_ world: borrowing Communicator) throws {
  let ranks = world.size
  // Uneven leaves, more of them than there are ranks on small jobs and fewer on large ones.
  let tokens = 768 * 3 + 131
  for (index, (queryHeads, kvHeads)) in [(6, 3), (3, 1), (4, 4)].enumerated() {
    let shape = AttentionShape(
      batch: index == 1 ? 2 : 1, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 12,
      valueHeadDim: 20)
    let problem = Problem(
      shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: UInt64(queryHeads))
    let layout = Layout.regular[index]
    let attention = problem.attention(
      CausalPattern(), layout: layout, ranks: ranks, wire: [.f32, .int8, .f16][index],
      accumulation: .reproducible)
    let expected = try problem.run(attention, on: world)
    let trivial = [Route.mesh(heads: 1, ring: ranks), .mesh(heads: ranks, ring: 1)]
    let rings = meshes(ranks: ranks).filter { $0.1 == .keys && $0.0.delivery == .rotating }
    for route in rings.map(\.0) + [.shared, .allgather] + trivial {
      var options = DistributedAttention.Options()
      options.team = ThreadTeam(threads: 2)
      options.overlaps = route != .heads
      let passes = try problem.run(attention, route, options: options, on: world)
      try requireSameBits(passes, expected, "\(route), \(layout), \(shape)")
    }
  }
}

private func requireSameBits(
  _ passes: borrowing Passes, _ expected: borrowing Passes, _ name: String
) throws {
  try requireSameBits(passes.output.o, expected.output.o, "\(name): o")
  try requireSameBits(passes.output.lse, expected.output.lse, "\(name): lse")
  try requireSameBits(
    passes.output.lseRemainder, expected.output.lseRemainder, "\(name): lse remainder")
  try requireSameBits(passes.gradients.dq, expected.gradients.dq, "\(name): dq")
  try requireSameBits(passes.gradients.dk, expected.gradients.dk, "\(name): dk")
  try requireSameBits(passes.gradients.dv, expected.gradients.dv, "\(name): dv")
}

private func requireSameBits(
  _ tensor: borrowing Tensor<Float>, _ expected: borrowing Tensor<Float>, _ name: String
) throws {
  try require(tensor.shape == expected.shape, "\(name) is \(tensor.shape)")
  for index in 0..<tensor.count
  where tensor.span[index].bitPattern != expected.span[index].bitPattern {
    let place = tensor.shape.index(ofFlat: index)
    throw CheckFailure("\(name)\(place) is \(tensor.span[index]), not \(expected.span[index])")
  }
}

/// The bytes of meshes: the closed form where everything divides, and the plan's count anywhere.
func checkHeadTraffic(_ world: borrowing Communicator) throws {
  let ranks = world.size
  let (headDim, valueHeadDim) = (20, 12)
  let widths = [(WireType.f32, 32 * 4), (.f16, 32 * 2), (.int8, 32 + 2 * 4)]
  for columns in (2...8).filter({ ranks % $0 == 0 }) {
    let rows = ranks / columns
    let route: Route = rows == 1 ? .heads : .mesh(heads: columns, ring: rows)
    for (turn, (wire, width)) in widths.enumerated() {
      for divides in [true, false] {
        // Reproducible sums, of many tokens, on one wire a mesh.
        for accumulation in turn == columns % 3 ? [Accumulation.fast, .reproducible] : [.fast] {
          let heads = divides ? 2 * columns : 3
          let shape = AttentionShape(
            batch: 2, queryHeads: heads, kvHeads: divides ? columns : 1, headDim: headDim,
            valueHeadDim: valueHeadDim)
          let n = accumulation == .fast ? 6 : accumulation.granularity
          let tokens = n * ranks + (divides ? 0 : n / 2 + 1)
          let problem = Problem(
            shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 7)
          let pattern: any AttentionPattern =
            accumulation == .fast ? FullPattern() : FirstKeys(of: n)
          let attention = problem.attention(
            pattern, layout: .contiguous, ranks: ranks, wire: wire, accumulation: accumulation)
          let passes = try problem.run(attention, route, on: world)
          let name = "\(route), \(wire), \(accumulation), \(shape)"
          let sent = (passes.forwardTraffic.bytesSent, passes.backwardTraffic.bytesSent)
          let planner = RoutePlanner(attention, topology: try Topology(of: world))
          try requireTraffic(passes, planner, route, backward: .automatic, world.rank, name)
          guard divides else { continue }
          let block = columns * width
          // Reproducible sums are two integers a number and one a row of dk or dv.
          let gradient = columns * (accumulation == .fast ? 32 * 4 : 32 * 16 + 2 * 8)
          let forward = 4 * heads * (headDim + valueHeadDim + 2) + block
          let backward = 4 * heads * (2 * headDim + 2 * valueHeadDim + 2) + gradient
          let formula = (
            2 * n * (forward * (columns - 1) / columns + (rows - 1) * block),
            2 * n * (backward * (columns - 1) / columns + (rows - 1) * (block + gradient))
          )
          try require(sent == formula, "\(name): \(sent) bytes sent, not \(formula)")
        }
      }
    }
  }
}

/// A mesh of other ranks is refused everywhere, with one that fits.
func checkMeshRefusal(_ world: borrowing Communicator) throws {
  let ranks = world.size
  let shape = AttentionShape(
    batch: 1, queryHeads: 2, kvHeads: 2, headDim: 8, valueHeadDim: 8)
  let attention = Problem(shape: shape, tokens: 9, keyTokens: 9, logits: 1, seed: 1)
    .attention(FullPattern(), layout: .zigzag, ranks: ranks)
  for (heads, ring) in [(ranks + 1, 1), (1, ranks + 1), (ranks, 2), (0, ranks), (Int.max, 4)] {
    do {
      let engine = try DistributedAttention(
        attention, route: .mesh(heads: heads, ring: ring), on: world)
      try engine.close()
    } catch let error as RouteError {
      try require(
        error.description.contains("\(heads)x\(ring)")
          && error.description.contains("there are \(ranks)"), "\(error)")
      continue
    }
    throw CheckFailure("\(heads)x\(ring) was taken for \(ranks) ranks")
  }
}

/// Every query sees the first key of each leaf, so that all blocks are needed and little is
/// computed.
private struct FirstKeys: AttentionPattern {
  let leaf: Int

  init(of leaf: Int) { self.leaf = leaf }

  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    keys.contains { $0 % leaf == 0 } && !queries.isEmpty ? .some : .none
  }

  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    for index in bias.indices {
      bias[index] = keys[index % keys.count] % leaf == 0 ? 0 : -.infinity
    }
  }
}

/// Layers take turns on the same engine: what one leaves there must not get into another.
func checkSeveralLayers(_ world: borrowing Communicator) throws {
  let shape = AttentionShape(
    batch: 2, queryHeads: 6, kvHeads: 3, headDim: 12, valueHeadDim: 8)
  let layers = (1...2).map {
    Problem(shape: shape, tokens: 61, keyTokens: 61, logits: 1, seed: UInt64($0))
  }
  let mask = MaskCase.all(tokens: 61, keyTokens: 61)[1]
  let expected = try layers.map { try $0.expected(mask, on: world) }
  let attention = layers[0].attention(mask.pattern, layout: .zigzag, ranks: world.size)
  let queries = try attention.loadQueries(layers[0].q, rank: world.rank)
  let otherQueries = try attention.loadQueries(layers[1].q, rank: world.rank)
  for (route, backward) in ways(ranks: world.size) {
    var options = DistributedAttention.Options()
    options.backwardRoute = backward
    var engine = try DistributedAttention(attention, route: route, options: options, on: world)
    func check(_ index: Int, _ passes: borrowing Passes) throws {
      try layers[index].check(
        passes, expected[index], attention, rank: world.rank, tolerance: 1e-5,
        gradientTolerance: 1e-4, "\(route), \(backward), layer \(index)")
    }
    try engine.load(keys: layers[0].k, values: layers[0].v)
    let output = try engine.forward(queries)
    try engine.load(keys: layers[1].k, values: layers[1].v)
    let otherOutput = try engine.forward(otherQueries)
    // A rank may pack what it has packed already, and the others need not.
    if world.rank == 0 { try engine.load(keys: layers[1].k, values: layers[1].v) }
    let otherGradients = try engine.backward(
      otherQueries, output: otherOutput,
      outputGradient: layers[1].outputGradient.read(shard: otherQueries.runs))
    try engine.load(keys: layers[0].k, values: layers[0].v)
    let gradients = try engine.backward(
      queries, output: output,
      outputGradient: layers[0].outputGradient.read(shard: queries.runs))
    try engine.close()
    try check(
      0,
      Passes(
        output: output, gradients: gradients, forwardTraffic: .zero, backwardTraffic: .zero,
        backward: .keys))
    try check(
      1,
      Passes(
        output: otherOutput, gradients: otherGradients, forwardTraffic: .zero,
        backwardTraffic: .zero, backward: .keys))
  }
}
