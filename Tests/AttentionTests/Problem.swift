import Attention
import AttentionReference
import AttentionTypes
import Compute
import KernelSets
import Tensors
import Testing

/// A small attention problem with random inputs, its answer by the kernels and by the oracle.
struct Problem {
  var shape: AttentionShape
  var tokens: Int
  var keyTokens: Int
  var scale: Double
  /// What the kernels compute products of.
  var arithmetic = Arithmetic.f32
  /// The kernels that compute; nil for those of every instruction set.
  var kernels: (any KernelSet.Type)?
  /// What becomes of scores, for the kernels and for the oracle.
  var scoreRule: (any ScoreRule)?
  var referenceRule: (any ReferenceScoreRule)?
  var q: [Float]
  var k: [Float]
  var v: [Float]
  var outputGradient: [Float]

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
    var gradientRandom = Uniform(seed: 99)
    outputGradient = gradientRandom.values(
      batch * tokens * queryHeads * shape.valueHeadDim, amplitude: 1)
  }

  /// The oracle for these sizes.
  var oracle: ReferenceAttention {
    var oracle = ReferenceAttention(
      tokens: tokens, keyTokens: keyTokens, headDim: shape.headDim,
      valueHeadDim: shape.valueHeadDim, scale: scale)
    oracle.batch = shape.batch
    oracle.queryHeads = shape.queryHeads
    oracle.kvHeads = shape.kvHeads
    oracle.scoreRule = referenceRule
    return oracle
  }

  /// The oracle's answer.
  func expected(bias: (_ i: Int, _ j: Int, _ h: Int) -> Double) -> (o: [Double], lse: [Double]) {
    oracle(q: q.map(Double.init), k: k.map(Double.init), v: v.map(Double.init), bias: bias)
  }

  /// The kernels' answer: queries in one shard, keys in one block for each list of runs.
  ///
  /// Rows come back in the order of global positions. Every instruction set is asked.
  func computed(
    pattern: any AttentionPattern, queryRuns: [PositionRange]? = nil,
    blocks: [[PositionRange]]? = nil, elementType: WireType = .f32, threads: Int = 1,
    poll: (_ scores: Int) -> Void = { _ in }
  ) -> (o: [Float], lse: [Float]) {
    let queryRuns = queryRuns ?? [PositionRange(0..<tokens)]
    let results = onKernels { kernels in
      let output = forward(
        pattern: pattern, queries: queryShard(runs: queryRuns),
        blocks: blocks ?? [[PositionRange(0..<keyTokens)]], elementType: elementType,
        kernels: kernels, team: ThreadTeam(threads: threads),
        poll: { if kernels.instructions == .required { poll($0) } })
      var o = [Float](repeating: .nan, count: output.o.count)
      scatter(output.o, runs: queryRuns, tokens: tokens, into: &o)
      return [o, lseInGlobalOrder(output.lse, runs: queryRuns)]
    }
    return (results[0], results[1])
  }

  /// The forward pass over all blocks.
  func forward(
    pattern: any AttentionPattern, queries: borrowing QueryShard, blocks: [[PositionRange]],
    elementType: WireType, accumulation: Accumulation = .fast,
    kernels: any KernelSet.Type = InstructionSet.inUse.kernels, team: ThreadTeam,
    poll: (_ scores: Int) -> Void = { _ in }
  ) -> AttentionOutput {
    var accumulator = ForwardAccumulator(
      computation(pattern, accumulation: accumulation, kernels: kernels, team: team),
      tokens: tokens)
    for runs in blocks {
      accumulator.attend(
        queries, to: keyValueBlock(runs: runs, elementType: elementType), poll: poll)
    }
    return accumulator.finish()
  }

  /// What is computed of this problem.
  func computation(
    _ pattern: any AttentionPattern, accumulation: Accumulation = .fast,
    kernels: any KernelSet.Type, team: ThreadTeam
  ) -> BlockComputation {
    BlockComputation(
      shape: shape, scale: scale, pattern: pattern, scoreRule: scoreRule,
      accumulation: accumulation, arithmetic: arithmetic, kernels: kernels, team: team)
  }

  /// Computes with the kernels that are named, or those of every set.
  func onKernels(_ compute: (any KernelSet.Type) -> [[Float]]) -> [[Float]] {
    kernels.map(compute) ?? onEverySet(compute)
  }

  // MARK: Shards

  /// The queries at some positions.
  func queryShard(runs: [PositionRange]) -> QueryShard {
    QueryShard(shard(of: q, runs: runs, [tokens, shape.queryHeads, shape.headDim]), runs: runs)
  }

  /// The gradients of the outputs at some positions.
  func outputGradientShard(runs: [PositionRange]) -> Tensor<Float> {
    shard(of: outputGradient, runs: runs, [tokens, shape.queryHeads, shape.valueHeadDim])
  }

  /// The keys and values at some positions, packed.
  func keyValueBlock(runs: [PositionRange], elementType: WireType) -> KeyValueBlock {
    var block = KeyValueBlock(shape: shape, elementType: elementType, runs: runs)
    block.pack(
      keys: shard(of: k, runs: runs, [keyTokens, shape.kvHeads, shape.headDim]),
      values: shard(of: v, runs: runs, [keyTokens, shape.kvHeads, shape.valueHeadDim]))
    return block
  }

  /// Rows of the given positions from `[batch, tokens, heads, columns]`.
  private func shard(
    of values: [Float], runs: [PositionRange], _ sizes: [Int]
  ) -> Tensor<Float> {
    let (tokens, width) = (sizes[0], sizes[1] * sizes[2])
    var rows: [Float] = []
    var count = 0
    for b in 0..<shape.batch {
      for position in runs.flatMap(Array.init) {
        let first = (b * tokens + position) * width
        rows += values[first..<first + width]
        count += 1
      }
    }
    return Tensor(
      shape: [shape.batch, count / shape.batch, sizes[1], sizes[2]],
      buffer: AlignedBuffer(copying: rows.span))
  }

  /// Puts the rows of a shard where they belong in `[batch, tokens, …]`.
  func scatter(
    _ tensor: borrowing Tensor<Float>, runs: [PositionRange], tokens: Int, batch: Int? = nil,
    into result: inout [Float]
  ) {
    let width = tensor.shape[2] * tensor.shape[3]
    let count = tensor.shape[1]
    for b in 0..<(batch ?? shape.batch) {
      for (row, position) in runs.flatMap(Array.init).enumerated() {
        for c in 0..<width {
          result[(b * tokens + position) * width + c] = tensor.span[(b * count + row) * width + c]
        }
      }
    }
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

/// Whether arrays are equal; as a function, so that a failing test does not spend minutes on
/// finding out where they differ.
func same<Element: Equatable>(_ a: [Element], _ b: [Element]) -> Bool { a == b }

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
