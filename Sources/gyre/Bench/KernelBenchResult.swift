import Attention
import SequenceParallel
import Tensors

/// One row of the kernel benchmark.
///
/// The names are the fields of the JSON object.
struct KernelBenchResult: Encodable {
  let pass: String
  let headDim: Int
  let tokens: Int
  let queryHeads: Int
  let kvHeads: Int
  let causal: Bool
  let dtype: String
  let threads: Int
  /// The median.
  let seconds: Double
  /// From the first to the third quartile, as a fraction of the median.
  let spread: Double
  let flopsPerSecond: Double
  /// Of one core, measured between the repeats.
  let fmaPeakFlopsPerSecond: Double
  /// Of the peak of as many cores as there are threads.
  let fractionOfPeak: Double

  /// Measures the forward pass.
  static func measure(
    shape: AttentionShape, tokens: Int, isCausal: Bool, dtype: WireType, threads: Int,
    repeats: Int
  ) -> KernelBenchResult {
    let run = PositionRange(0..<tokens)
    let queries = QueryShard(
      random([1, tokens, shape.queryHeads, shape.headDim], tensor: 0), runs: [run])
    var block = KeyValueBlock(shape: shape, elementType: dtype.elementType, runs: [run])
    block.pack(
      keys: random([1, tokens, shape.kvHeads, shape.headDim], tensor: 1),
      values: random([1, tokens, shape.kvHeads, shape.valueHeadDim], tensor: 2))
    let pattern: any AttentionPattern = isCausal ? CausalPattern() : FullPattern()
    let team = ThreadTeam(threads: threads)

    var times: [Double] = []
    var peaks: [Double] = []
    // The first round warms caches and threads up and is not counted.
    for round in 0...repeats {
      let peak = MultiplyAddPeak.flopsPerSecond()
      let start = ContinuousClock.now
      var accumulator = ForwardAccumulator(
        shape: shape, tokens: tokens, scale: 1 / Double(shape.headDim).squareRoot(),
        pattern: pattern, team: team)
      accumulator.attend(queries, to: block)
      _ = accumulator.finish()
      let elapsed = gyre.seconds(ContinuousClock.now - start)
      if round > 0 {
        peaks.append(peak)
        times.append(elapsed)
      }
    }
    times.sort()
    peaks.sort()
    let seconds = times[times.count / 2]
    let peak = peaks[peaks.count / 2]
    let pairs = pattern.visiblePairs(keys: run, queries: run) * shape.queryHeads
    let rate = Double(pairs * shape.forwardFlopsPerPair) / seconds
    return KernelBenchResult(
      pass: "forward", headDim: shape.headDim, tokens: tokens, queryHeads: shape.queryHeads,
      kvHeads: shape.kvHeads, causal: isCausal, dtype: dtype.rawValue, threads: threads,
      seconds: seconds,
      spread: (times[times.count * 3 / 4] - times[times.count / 4]) / seconds,
      flopsPerSecond: rate, fmaPeakFlopsPerSecond: peak,
      fractionOfPeak: rate / (peak * Double(threads)))
  }

  private static func random(_ shape: Shape, tensor: UInt64) -> Tensor<Float> {
    var numbers = Tensor<Float>(zeros: shape)
    var span = numbers.mutableSpan
    RandomNormal(seed: 0, tensor: tensor).fill(&span, from: 0)
    return numbers
  }
}
