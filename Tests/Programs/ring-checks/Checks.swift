import Attention
import MPI
import SequenceParallel
import Sharding
import Tensors

/// The test protocol: every layout, length, head grouping, head dim, magnitude and mask.
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
          for mask in MaskCase.all(tokens: tokens, keyTokens: keyTokens) {
            let expected = problem.expected(mask)
            let largestScore = expected.lse.reduce(0) { $1.isFinite ? max($0, abs($1)) : $0 }
            for layout in Layout.allCases {
              let attention = problem.attention(
                mask.pattern, layout: layout, ranks: ranks, threads: 1 + Int(seed % 2))
              let result = try problem.run(attention, on: world)
              try problem.check(
                result.output, expected, attention, rank: world.rank,
                tolerance: logits == 1 ? 1e-5 : max(1e-5, largestScore * 0x1p-24 * 4),
                "\(mask.name), \(layout), \(tokens) tokens, \(keyTokens) keys, \(shape)")
            }
          }
        }
      }
    }
  }
}

/// Blocks well above every eager limit, of sizes that do not divide: small ones hide deadlocks.
func checkLargeBlocks(_ world: borrowing Communicator) throws {
  let shape = AttentionShape(
    batch: 1, queryHeads: 2, kvHeads: 2, headDim: 64, valueHeadDim: 64)
  let tokens = 1903 * world.size + 5
  for wire in WireType.allCases {
    let attention = RingAttention(
      shape: shape, queries: Sharding(.zigzag, tokens: tokens, ranks: world.size),
      keys: Sharding(.zigzag, tokens: tokens, ranks: world.size), pattern: CausalPattern(),
      wire: wire)
    try require(attention.blockBytes[world.rank] > 256 << 10, "the block is small")
    let rows = (0..<3).map {
      RandomRows(shape: [1, tokens, 2, 64], seed: 11, tensor: UInt64($0))
    }
    let result = try attention.forward(
      attention.loadQueries(rows[0], rank: world.rank),
      attention.loadBlock(keys: rows[1], values: rows[2], rank: world.rank), on: world)
    let finding = try SampledCheck(of: attention, rows: 12) { i, j, _ in
      j <= i ? 0 : -.infinity
    }.run(result.output, q: rows[0], k: rows[1], v: rows[2], on: world)
    try require(finding.rows == 12, "\(finding.rows) rows were checked")
    try require(finding.holds, "\(wire): error \(finding.maxError)")
    // Rounded inputs must show, and nothing may hide behind them.
    try require(
      wire == .f32
        ? finding.maxError < 1e-5
        : finding.maxError > 1e-5 && finding.tolerance < finding.maxError + 3e-5,
      "\(wire): error \(finding.maxError) is not of the wire's size")
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
    for tokens in [6 * ranks, 601 * ranks + 3] {
      let problem = Problem(
        shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 5)
      for layout in Layout.allCases {
        for isCausal in [false, true] {
          let ring = try world.duplicate()
          let attention = problem.attention(
            isCausal ? CausalPattern() : FullPattern(), layout: layout, ranks: ranks, wire: wire)
          _ = try problem.run(attention, on: ring)
          // Under a causal mask a contiguous block is of use only to later ranks: rank r passes on
          // the blocks of ranks r … 0, and the last rank none.
          let hops =
            isCausal && layout == .contiguous
            ? (world.rank == ranks - 1 ? 0 : world.rank + 1) : ranks - 1
          let keys = (0..<hops).reduce(0) { sum, step in
            sum + attention.keys.tokenCount(of: (world.rank - step + ranks) % ranks)
          }
          let bytes = 2 * keys * 2 * width
          let name = "\(layout), \(isCausal ? "causal" : "full"), \(wire)"
          try require(
            ring.traffic.bytesSent == bytes,
            "\(name): \(ring.traffic.bytesSent) bytes sent, not \(bytes)")
          try require(
            ring.traffic.messagesSent == hops,
            "\(name): \(ring.traffic.messagesSent) messages sent, not \(hops)")
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
    var o = Tensor<Float>(zeros: result.output.o.shape)
    var lse = Tensor<Float>(zeros: result.output.lse.shape)
    for index in 0..<o.count {
      var span = o.mutableSpan
      span[index] = result.output.o.span[index]
    }
    for index in 0..<lse.count {
      var span = lse.mutableSpan
      span[index] = result.output.lse.span[index]
    }
    if attention.queries.owner(of: 28).rank == world.rank {
      let last = lse.count - 1
      var span = lse.mutableSpan
      span[last] += wrongValue
    }
    let finding = try check.run(
      AttentionOutput(o: o, lse: lse), q: problem.q, k: problem.k, v: problem.v, on: world)
    try require(!finding.holds, "an error of \(wrongValue) went unnoticed: \(finding)")
  }
}
