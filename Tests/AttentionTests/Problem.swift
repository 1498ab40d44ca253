import Attention
import AttentionReference
import Tensors

/// A small attention problem with random inputs, its answer by the kernels and by the oracle.
struct Problem {
  var shape: AttentionShape
  var tokens: Int
  var keyTokens: Int
  var scale: Double
  var q: [Float]
  var k: [Float]
  var v: [Float]

  init(
    batch: Int = 1, tokens: Int, keyTokens: Int? = nil, queryHeads: Int = 1, kvHeads: Int = 1,
    headDim: Int, valueHeadDim: Int? = nil, logits: Float = 1, seed: UInt64 = 1
  ) {
    shape = AttentionShape(
      batch: batch, queryHeads: queryHeads, kvHeads: kvHeads, headDim: headDim,
      valueHeadDim: valueHeadDim ?? headDim)
    self.tokens = tokens
    self.keyTokens = keyTokens ?? tokens
    scale = 1 / Double(headDim).squareRoot()
    var random = Uniform(seed: seed)
    q = random.values(batch * tokens * queryHeads * headDim, amplitude: 2 * logits)
    k = random.values(batch * self.keyTokens * kvHeads * headDim, amplitude: 2)
    v = random.values(batch * self.keyTokens * kvHeads * shape.valueHeadDim, amplitude: 1)
  }

  /// The oracle's answer.
  func expected(bias: (_ i: Int, _ j: Int, _ h: Int) -> Double) -> (o: [Double], lse: [Double]) {
    var oracle = ReferenceAttention(
      tokens: tokens, keyTokens: keyTokens, headDim: shape.headDim,
      valueHeadDim: shape.valueHeadDim, scale: scale)
    oracle.batch = shape.batch
    oracle.queryHeads = shape.queryHeads
    oracle.kvHeads = shape.kvHeads
    return oracle(q: q.map(Double.init), k: k.map(Double.init), v: v.map(Double.init), bias: bias)
  }

  /// The kernels' answer: queries in one shard, keys in one block for each list of runs.
  ///
  /// Rows come back in the order of global positions.
  func computed(
    pattern: any AttentionPattern, queryRuns: [PositionRange]? = nil,
    blocks: [[PositionRange]]? = nil, elementType: ElementType = .f32, threads: Int = 1,
    poll: (_ scores: Int) -> Void = { _ in }
  ) -> (o: [Float], lse: [Float]) {
    let queryRuns = queryRuns ?? [PositionRange(0..<tokens)]
    let blocks = blocks ?? [[PositionRange(0..<keyTokens)]]
    let rows = rows(of: q, runs: queryRuns, tokens: tokens, width: shape.queryHeads * shape.headDim)
    let queries = QueryShard(
      tensor(rows, [shape.batch, tokens, shape.queryHeads, shape.headDim]), runs: queryRuns)
    var accumulator = ForwardAccumulator(
      shape: shape, tokens: tokens, scale: scale, pattern: pattern,
      team: ThreadTeam(threads: threads))
    for runs in blocks {
      let keys = self.rows(
        of: k, runs: runs, tokens: keyTokens, width: shape.kvHeads * shape.headDim)
      let values = self.rows(
        of: v, runs: runs, tokens: keyTokens, width: shape.kvHeads * shape.valueHeadDim)
      let count = runs.reduce(0) { $0 + $1.count }
      var block = KeyValueBlock(shape: shape, elementType: elementType, runs: runs)
      block.pack(
        keys: tensor(keys, [shape.batch, count, shape.kvHeads, shape.headDim]),
        values: tensor(values, [shape.batch, count, shape.kvHeads, shape.valueHeadDim]))
      accumulator.attend(queries, to: block, poll: poll)
    }
    let output = accumulator.finish()
    return (
      inGlobalOrder(output.o, runs: queryRuns, width: shape.queryHeads * shape.valueHeadDim),
      lseInGlobalOrder(output.lse, runs: queryRuns)
    )
  }

  private func tensor(_ values: [Float], _ dimensions: [Int]) -> Tensor<Float> {
    Tensor(shape: Shape(dimensions), buffer: AlignedBuffer(copying: values.span))
  }

  /// Rows of the given positions from `[batch, tokens, width]`.
  private func rows(
    of values: [Float], runs: [PositionRange], tokens: Int, width: Int
  ) -> [Float] {
    var result: [Float] = []
    for b in 0..<shape.batch {
      for position in runs.flatMap(Array.init) {
        let first = (b * tokens + position) * width
        result += values[first..<first + width]
      }
    }
    return result
  }

  private func inGlobalOrder(
    _ tensor: borrowing Tensor<Float>, runs: [PositionRange], width: Int
  ) -> [Float] {
    var result = [Float](repeating: .nan, count: tensor.count)
    for b in 0..<shape.batch {
      for (row, position) in runs.flatMap(Array.init).enumerated() {
        for c in 0..<width {
          result[(b * tokens + position) * width + c] = tensor.span[(b * tokens + row) * width + c]
        }
      }
    }
    return result
  }

  private func lseInGlobalOrder(
    _ tensor: borrowing Tensor<Float>, runs: [PositionRange]
  ) -> [Float] {
    var result = [Float](repeating: .nan, count: tensor.count)
    for bh in 0..<shape.batch * shape.queryHeads {
      for (row, position) in runs.flatMap(Array.init).enumerated() {
        result[bh * tokens + position] = tensor.span[bh * tokens + row]
      }
    }
    return result
  }
}

/// A small repeatable generator of uniform numbers in (−amplitude, amplitude).
struct Uniform {
  private var state: UInt64

  init(seed: UInt64) {
    state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
  }

  mutating func values(_ count: Int, amplitude: Float) -> [Float] {
    (0..<count).map { _ in
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Float(Int32(truncatingIfNeeded: state >> 20)) / 2_147_483_648 * amplitude
    }
  }
}

/// The largest difference, relative to `1 + max|expected|`; equal infinities differ by nothing, and
/// a NaN or a wrong infinity by infinitely much.
func relativeError(_ actual: [Float], _ expected: [Double]) -> Double {
  guard actual.count == expected.count else { return .infinity }
  var largest = 0.0
  var magnitude = 0.0
  for (a, e) in zip(actual, expected) where Double(a) != e {
    guard a.isFinite, e.isFinite else { return .infinity }
    largest = max(largest, abs(Double(a) - e))
  }
  for e in expected where e.isFinite { magnitude = max(magnitude, abs(e)) }
  return largest / (1 + magnitude)
}
