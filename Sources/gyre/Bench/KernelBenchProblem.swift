import Attention
import Tensors

/// One combination of the kernel benchmark, on random inputs.
struct KernelBenchProblem {
  let shape: AttentionShape
  let tokens: Int
  /// The last tokens of the sequence.
  let queries: Int
  let isCausal: Bool
  let dtype: WireType
  let threads: Int
  let accumulation: Accumulation

  private var keyRun: PositionRange { PositionRange(0..<tokens) }
  private var queryRun: PositionRange { PositionRange(0..<queries) }
  private var pattern: any AttentionPattern {
    isCausal ? CausalPattern(offset: tokens - queries) : FullPattern()
  }
  private var scale: Double { 1 / Double(shape.headDim).squareRoot() }
  private var team: ThreadTeam { ThreadTeam(threads: threads) }

  /// Measures a pass, the multiply–add peak of a core and the memory bandwidth in turn.
  func measure(
    _ pass: KernelPass, repeats: Int, _ memory: borrowing MemoryBandwidth
  ) -> KernelBenchResult {
    let shard = QueryShard(
      random([1, queries, shape.queryHeads, shape.headDim], tensor: 0), runs: [queryRun])
    var block = KeyValueBlock(shape: shape, elementType: dtype, runs: [keyRun])
    block.pack(
      keys: random([1, tokens, shape.kvHeads, shape.headDim], tensor: 1),
      values: random([1, tokens, shape.kvHeads, shape.valueHeadDim], tensor: 2))
    let timings: Timings
    switch pass {
    case .forward:
      timings = Timings(repeats: repeats, memory, team) { _ = forward(shard, block) }
    case .backward:
      let output = forward(shard, block)
      let gradient = random([1, queries, shape.queryHeads, shape.valueHeadDim], tensor: 3)
      timings = Timings(repeats: repeats, memory, team) {
        backward(shard, block, output, gradient)
      }
    }
    let pairs = pattern.visiblePairs(keys: keyRun, queries: queryRun) * shape.queryHeads
    let flops =
      pass == .forward ? shape.forwardFlopsPerPair : shape.backwardFlopsPerPair
    let rate = Double(pairs * flops) / timings.seconds
    let bytesPerSecond = Double(block.byteCount) / timings.seconds
    return KernelBenchResult(
      pass: pass, headDim: shape.headDim, tokens: tokens, queries: queries,
      queryHeads: shape.queryHeads,
      kvHeads: shape.kvHeads, causal: isCausal, dtype: dtype.rawValue, threads: threads,
      reproducible: accumulation == .reproducible, seconds: timings.seconds, spread: timings.spread,
      flopsPerSecond: rate,
      fmaPeakFlopsPerSecond: timings.peak,
      fractionOfPeak: rate / (timings.peak * Double(threads)),
      bytesPerSecond: bytesPerSecond, memoryBandwidthBytesPerSecond: timings.bandwidth,
      fractionOfBandwidth: bytesPerSecond / timings.bandwidth)
  }

  private func forward(
    _ queries: borrowing QueryShard, _ block: borrowing KeyValueBlock
  ) -> AttentionOutput {
    var accumulator = ForwardAccumulator(
      shape: shape, tokens: self.queries, scale: scale, pattern: pattern,
      accumulation: accumulation, team: team)
    accumulator.attend(queries, to: block)
    return accumulator.finish()
  }

  private func backward(
    _ queries: borrowing QueryShard, _ block: borrowing KeyValueBlock,
    _ output: borrowing AttentionOutput, _ outputGradient: borrowing Tensor<Float>
  ) {
    var gradient = KeyValueGradient(shape: shape, keys: tokens, accumulation: accumulation)
    var accumulator = BackwardAccumulator(
      shape: shape, output: output, outputGradient: outputGradient, scale: scale,
      pattern: pattern, accumulation: accumulation, team: team)
    accumulator.attend(
      queries, outputGradient: outputGradient, to: block, addingTo: &gradient)
    _ = accumulator.finish()
  }

  private func random(_ shape: Shape, tensor: UInt64) -> Tensor<Float> {
    var numbers = Tensor<Float>(zeros: shape)
    var span = numbers.mutableSpan
    RandomNormal(seed: 0, tensor: tensor).fill(&span, from: 0)
    return numbers
  }
}

/// Repeated measurements, in turn with those of the multiply–add peak and the memory bandwidth, so
/// that a machine whose speed drifts slows all.
private struct Timings {
  /// The median.
  let seconds: Double
  /// From the first to the third quartile, as a fraction of the median.
  let spread: Double
  /// The median peak of one core in flops a second.
  let peak: Double
  /// The median bandwidth of all threads in bytes a second.
  let bandwidth: Double

  init(
    repeats: Int, _ memory: borrowing MemoryBandwidth, _ team: ThreadTeam, _ body: () -> Void
  ) {
    var times: [Double] = []
    var peaks: [Double] = []
    var bandwidths: [Double] = []
    // The first round warms caches and threads up and is not counted.
    for round in 0...repeats {
      let bandwidth = memory.bytesPerSecond(team: team)
      let peak = MultiplyAddPeak.flopsPerSecond()
      let elapsed = gyre.seconds(ContinuousClock().measure(body))
      if round > 0 {
        peaks.append(peak)
        bandwidths.append(bandwidth)
        times.append(elapsed)
      }
    }
    times.sort()
    peaks.sort()
    bandwidths.sort()
    seconds = times[times.count / 2]
    spread = (times[times.count * 3 / 4] - times[times.count / 4]) / seconds
    peak = peaks[peaks.count / 2]
    bandwidth = bandwidths[bandwidths.count / 2]
  }
}
