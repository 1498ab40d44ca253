package import Attention
import KernelSets
import Reporting
import Tensors

/// A problem of dense attention on random inputs, and one combination of the kernel benchmark.
package struct KernelBenchProblem {
  let shape: AttentionShape
  let tokens: Int
  /// The last tokens of the sequence.
  let queries: Int
  let choice: PatternChoice
  let dtype: WireType
  let threads: Int
  let accumulation: Accumulation
  let arithmetic: Arithmetic
  /// The limit of scores; nil if they stay as they are.
  let softcap: Float?
  /// Whether a slope times the distance is taken from scores.
  let alibi: Bool
  /// What turns queries and keys before a pass, and gradients back after it; nil if nothing does.
  let rotation: RotaryPositions?
  /// How many of it are computed at the same time, each by threads of its own.
  let copies: Int

  package init(
    shape: AttentionShape, tokens: Int, queries: Int, choice: PatternChoice, dtype: WireType,
    threads: Int, accumulation: Accumulation, arithmetic: Arithmetic = .f32, softcap: Float? = nil,
    alibi: Bool = false, rotation: RotaryPositions? = nil, copies: Int = 1
  ) {
    self.shape = shape
    self.tokens = tokens
    self.queries = queries
    self.choice = choice
    self.dtype = dtype
    self.threads = threads
    self.accumulation = accumulation
    self.arithmetic = arithmetic
    self.softcap = softcap
    self.copies = copies
    self.alibi = alibi
    self.rotation = rotation
    let inputs = choice.drawnInputs(
      batch: shape.batch, queryHeads: shape.queryHeads, tokens: queries, keyTokens: tokens)
    pattern = choice.pattern(inputs)
    weights = choice.scoreRule(inputs)
  }

  private var keyRun: PositionRange { PositionRange(0..<tokens) }
  private var queryRun: PositionRange { PositionRange(0..<queries) }
  private let pattern: any AttentionPattern
  /// What the masks make of scores.
  private let weights: (any ScoreRule)?
  private var scoreRule: (any ScoreRule)? {
    RuleSequence.joining([
      softcap.map { SoftCap(limit: $0) },
      alibi
        ? Alibi(slopes: Alibi.slopes(heads: shape.queryHeads), offset: tokens - queries) : nil,
      weights,
    ])
  }
  private var scale: Double { 1 / Double(shape.headDim).squareRoot() }
  private var team: ThreadTeam { ThreadTeam(threads: threads) }

  /// What a pass holds at most, in bytes: queries, keys and values and the same packed, outputs,
  /// and of a backward pass the gradients of all.
  func residentBytes(_ pass: KernelPass) -> Double {
    let dims = Double(shape.headDim) + Double(shape.valueHeadDim)
    let (queryRows, keyRows) = (
      Double(queries) * Double(shape.queryHeads), Double(tokens) * Double(shape.kvHeads)
    )
    let turned = rotation == nil ? 0 : 4 * Double(shape.headDim) * (queryRows + keyRows)
    let rows = queryRows + 2 * keyRows
    return (4 * dims * rows * (pass == .backward ? 2 : 1) + turned) * Double(copies)
  }

  /// About how long a pass takes.
  ///
  /// - Parameter speed: of this machine.
  func seconds(_ pass: KernelPass, _ speed: EstimatedSpeed) -> Double {
    // A sequence's last queries see all that the whole would see but for the pairs before them.
    let visible = choice.pairs(tokens: tokens) - choice.pairs(tokens: tokens - queries)
    let seen = queries == tokens ? visible : min(visible, Double(queries) * Double(tokens))
    return speed.seconds(
      flops: seen * Double(shape.queryHeads * pass.flopsPerPair(shape) * copies),
      threads: threads * copies)
  }

  /// Measures a pass, the multiply–add peak of a core and the memory bandwidth in turn.
  ///
  /// Of several copies the time is that of the slowest, and the rate the mean of each.
  ///
  /// - Parameter roundIsOver: called for every round, and the one that warms up.
  func measure(
    _ pass: KernelPass, repeats: Int, _ memory: borrowing MemoryBandwidth, roundIsOver: () -> Void
  ) throws -> KernelBenchResult {
    let measured = (0..<copies).map { _ in prepared(pass) }
    let atOnce = CopiesAtOnce(measured)
    let everybody = ThreadTeam(threads: threads * copies)
    // Of the slowest copy, and the mean of all.
    var times = Samples()
    var means = Samples()
    var peaks = Samples()
    var bandwidths = Samples()
    var turning = Samples()
    // The first round warms caches and threads up and is not counted.
    for round in 0...repeats {
      let bandwidth = memory.bytesPerSecond(team: everybody)
      let peak = MultiplyAddPeak.flopsPerSecond(arithmetic: arithmetic)
      let elapsed = try atOnce.seconds()
      roundIsOver()
      if round == 0 { continue }
      times.append(elapsed.max() ?? 0)
      means.append(elapsed.reduce(0, +) / Double(copies))
      peaks.append(peak)
      bandwidths.append(bandwidth)
      turning.append(measured[0].turningSeconds)
    }
    let flops = Double(pairs) * Double(pass.flopsPerPair(shape))
    let rate = flops / means.median
    let bytes = KeyValueBlock.byteCount(keys: tokens, shape: shape, elementType: dtype)
    let bytesPerSecond = Double(bytes * copies) / means.median
    let fields = KernelBenchFields(
      pass: pass, headDim: shape.headDim, valueHeadDim: shape.valueHeadDim, tokens: tokens,
      queries: queries,
      queryHeads: shape.queryHeads, kvHeads: shape.kvHeads, dtype: dtype.rawValue,
      threads: threads, reproducible: accumulation == .reproducible,
      arithmetic: Nullable(value: arithmetic == .f32 ? nil : arithmetic.rawValue),
      softcap: Nullable(value: softcap.map(Double.init)), alibi: alibi,
      rope: Nullable(value: rotation?.pairing.rawValue), copies: copies,
      seconds: times.median,
      secondsLow: times.interval.lowerBound, secondsHigh: times.interval.upperBound,
      spread: times.spread, flopsPerSecond: rate, slowestFlopsPerSecond: flops / times.median,
      fmaPeakFlopsPerSecond: peaks.median,
      fractionOfPeak: rate / (peaks.median * Double(threads)), bytesPerSecond: bytesPerSecond,
      memoryBandwidthBytesPerSecond: bandwidths.median,
      fractionOfBandwidth: bytesPerSecond / bandwidths.median,
      turnedColumnsPerSecond: Nullable(
        value: rotation == nil ? nil : Double(measured[0].turnedColumns) / turning.median))
    return WithPattern(choice, fields)
  }

  // MARK: Passes

  /// The (query, key) pairs of all heads.
  var pairs: Int { pattern.visiblePairs(keys: [keyRun], queries: [queryRun], shape: shape) }

  /// A pass with its inputs, keys and values packed, and what turns rows beside it.
  func prepared(_ pass: KernelPass) -> any BenchPass {
    let alone = unturned(pass)
    guard let rotation else { return alone }
    let first = tokens - queries
    return TurningPass(
      alone, backwards: pass == .backward,
      RowTurning(
        rotation, shape: shape, queries: [PositionRange(first..<tokens)], keys: [keyRun],
        team: team))
  }

  private func unturned(_ pass: KernelPass) -> any BenchPass {
    let inputs = BenchInputs(shape: shape, tokens: tokens, queryTokens: queries)
    let shard = QueryShard(inputs.queries(), runs: [queryRun])
    var block = KeyValueBlock(shape: shape, elementType: dtype, runs: [keyRun])
    block.pack(keys: inputs.keys(), values: inputs.values())
    switch pass {
    case .forward: return DenseForward(self, shard, block)
    case .backward:
      let output = forward(shard, block)
      return DenseBackward(self, shard, block, output, inputs.outputGradient())
    }
  }

  fileprivate func forward(
    _ queries: borrowing QueryShard, _ block: borrowing KeyValueBlock
  ) -> AttentionOutput {
    var accumulator = ForwardAccumulator(
      shape: shape, tokens: self.queries, scale: scale, pattern: pattern,
      scoreRule: scoreRule, accumulation: accumulation, arithmetic: arithmetic, team: team)
    accumulator.attend(queries, to: block)
    return accumulator.finish()
  }

  fileprivate func backward(
    _ queries: borrowing QueryShard, _ block: borrowing KeyValueBlock,
    _ output: borrowing AttentionOutput, _ outputGradient: borrowing Tensor<Float>
  ) {
    var gradient = KeyValueGradient(shape: shape, keys: tokens, accumulation: accumulation)
    var accumulator = BackwardAccumulator(
      shape: shape, output: output, outputGradient: outputGradient, scale: scale,
      pattern: pattern, scoreRule: scoreRule, accumulation: accumulation, arithmetic: arithmetic,
      team: team)
    accumulator.attend(
      queries, outputGradient: outputGradient, to: block, addingTo: &gradient)
    _ = accumulator.finish()
  }
}

private final class DenseForward: BenchPass {
  private let problem: KernelBenchProblem
  private let queries: QueryShard
  private let block: KeyValueBlock

  init(
    _ problem: KernelBenchProblem, _ queries: consuming QueryShard, _ block: consuming KeyValueBlock
  ) {
    self.problem = problem
    self.queries = queries
    self.block = block
  }

  var pairs: Int { problem.pairs }

  func run() { _ = problem.forward(queries, block) }
}

private final class DenseBackward: BenchPass {
  private let problem: KernelBenchProblem
  private let queries: QueryShard
  private let block: KeyValueBlock
  private let output: AttentionOutput
  private let outputGradient: Tensor<Float>

  init(
    _ problem: KernelBenchProblem, _ queries: consuming QueryShard,
    _ block: consuming KeyValueBlock, _ output: consuming AttentionOutput,
    _ outputGradient: consuming Tensor<Float>
  ) {
    self.problem = problem
    self.queries = queries
    self.block = block
    self.output = output
    self.outputGradient = outputGradient
  }

  var pairs: Int { problem.pairs }

  func run() { problem.backward(queries, block, output, outputGradient) }
}
