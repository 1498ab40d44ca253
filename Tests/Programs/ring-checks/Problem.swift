import Attention
import AttentionReference
import MPI
import SequenceParallel
import Sharding
import Tensors

/// A problem that every rank can make whole, small enough for the oracle.
struct Problem {
  let shape: AttentionShape
  let tokens: Int
  let keyTokens: Int
  let q: MemoryRows
  let k: MemoryRows
  let v: MemoryRows
  let scale: Double

  init(shape: AttentionShape, tokens: Int, keyTokens: Int, logits: Float, seed: UInt64) {
    self.shape = shape
    self.tokens = tokens
    self.keyTokens = keyTokens
    scale = 1 / Double(shape.headDim).squareRoot()
    q = MemoryRows(
      [shape.batch, tokens, shape.queryHeads, shape.headDim], seed: 3 * seed, factor: logits)
    k = MemoryRows(
      [shape.batch, keyTokens, shape.kvHeads, shape.headDim], seed: 3 * seed + 1, factor: 1)
    v = MemoryRows(
      [shape.batch, keyTokens, shape.kvHeads, shape.valueHeadDim], seed: 3 * seed + 2, factor: 1)
  }

  /// The oracle's answer for the whole sequence.
  func expected(_ mask: MaskCase) -> (o: [Double], lse: [Double]) {
    var oracle = ReferenceAttention(
      tokens: tokens, keyTokens: keyTokens, headDim: shape.headDim,
      valueHeadDim: shape.valueHeadDim, scale: scale)
    oracle.batch = shape.batch
    oracle.queryHeads = shape.queryHeads
    oracle.kvHeads = shape.kvHeads
    return oracle(
      q: q.values.map(Double.init), k: k.values.map(Double.init), v: v.values.map(Double.init)
    ) { i, j, _ in mask.sees(i, j) ? 0 : -.infinity }
  }

  func attention(
    _ pattern: any AttentionPattern, layout: Layout, ranks: Int, wire: WireType = .f32,
    threads: Int = 1
  ) -> RingAttention {
    RingAttention(
      shape: shape, queries: Sharding(layout, tokens: tokens, ranks: ranks),
      keys: Sharding(layout, tokens: keyTokens, ranks: ranks), pattern: pattern, wire: wire,
      team: ThreadTeam(threads: threads))
  }

  /// Runs the ring on this rank's shard.
  func run(
    _ attention: RingAttention, on world: borrowing Communicator
  ) throws -> RingAttention.ForwardResult {
    try attention.forward(
      attention.loadQueries(q, rank: world.rank),
      attention.loadBlock(keys: k, values: v, rank: world.rank), on: world)
  }

  /// Throws unless this rank's rows are the oracle's, each tensor within its tolerance times
  /// `1 + max|expected|`.
  func check(
    _ output: borrowing AttentionOutput, _ expected: (o: [Double], lse: [Double]),
    _ attention: RingAttention, rank: Int, tolerance: Double, _ name: String
  ) throws {
    let positions = attention.queries.shards[rank].flatMap(Array.init)
    let allowedO = tolerance * (1 + largest(expected.o))
    let allowedLSE = tolerance * (1 + largest(expected.lse))
    let row = shape.queryHeads * shape.valueHeadDim
    try require(
      output.o.shape == [shape.batch, positions.count, shape.queryHeads, shape.valueHeadDim]
        && output.lse.shape == [shape.batch, shape.queryHeads, positions.count],
      "\(name): shapes \(output.o.shape) and \(output.lse.shape)")
    for batch in 0..<shape.batch {
      for (local, position) in positions.enumerated() {
        for c in 0..<row {
          let actual = output.o.span[(batch * positions.count + local) * row + c]
          let wanted = expected.o[(batch * tokens + position) * row + c]
          try require(
            abs(Double(actual) - wanted) <= allowedO,
            "\(name): o of token \(position) is \(actual), not \(wanted)")
        }
        for head in 0..<shape.queryHeads {
          let index = batch * shape.queryHeads + head
          let actual = Double(output.lse.span[index * positions.count + local])
          let wanted = expected.lse[index * tokens + position]
          try require(
            actual == wanted || abs(actual - wanted) <= allowedLSE,
            "\(name): lse of token \(position) is \(actual), not \(wanted)")
        }
      }
    }
  }

  private func largest(_ values: [Double]) -> Double {
    values.reduce(0) { $1.isFinite ? max($0, abs($1)) : $0 }
  }
}

/// A tensor in memory, made of a repeatable generator's uniform numbers in (−2, 2).
struct MemoryRows: TokenRows {
  let shape: Shape
  let values: [Float]

  init(_ shape: Shape, seed: UInt64, factor: Float) {
    self.shape = shape
    var state = (seed &+ 1) &* 0x9E37_79B9_7F4A_7C15 | 1
    values = (0..<shape.elementCount).map { _ in
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Float(Int32(truncatingIfNeeded: state >> 20)) / 1_073_741_824 * factor
    }
  }

  func read(batch: Int, tokens: PositionRange, into numbers: inout MutableSpan<Float>) {
    var target = 0
    for token in tokens {
      let source = (batch * shape[1] + token) * rowLength
      for c in 0..<rowLength { numbers[target + c] = values[source + c] }
      target += rowLength
    }
  }
}
