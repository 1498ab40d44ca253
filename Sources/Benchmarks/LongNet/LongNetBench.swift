package import Attention
import Hosts
package import LongNet
package import MPI
import Reporting

/// Dilated and dense attention at several numbers of tokens, measured in turn.
package struct LongNetBench {
  let shape: AttentionShape
  let pass: KernelPass
  let pattern: PatternChoice
  let threads: Int
  let clock: BenchClock

  package init(
    shape: AttentionShape, pass: KernelPass, pattern: PatternChoice, threads: Int, clock: BenchClock
  ) {
    self.shape = shape
    self.pass = pass
    self.pattern = pattern
    self.threads = threads
    self.clock = clock
  }

  /// Refuses what this host cannot hold, or no integer counts.
  package func check(tokens: [Int], denseLimit: Int) throws {
    // All numbers of tokens are there at once, dilated and dense.
    let rows = tokens.reduce(0.0) { $0 + Double($1) * ($1 <= denseLimit ? 2 : 1) }
    let heads = Double(shape.queryHeads) + 2 * Double(shape.kvHeads)
    let dims = Double(shape.headDim) + Double(shape.valueHeadDim)
    try HostMemory.current.require(
      4 * rows * heads * dims * (pass == .backward ? 2 : 1),
      for: "\(counted(tokens.count, "sequence")) of up to \(grouped(tokens.last ?? 0)) tokens",
      remedy: "give fewer --tokens or --heads", isOfArguments: true)
    let most = Double(tokens.last ?? 0)
    guard most * most * Double(shape.queryHeads) < 0x1p61 else {
      throw UserError.usage(
        "\(grouped(tokens.last ?? 0)) tokens of \(counted(shape.queryHeads, "head")) are more "
          + "pairs than can be counted; give fewer --tokens or --heads.")
    }
  }

  /// About how long all rounds take.
  ///
  /// - Parameter cores: of this process.
  package func seconds(
    tokens: [Int], denseLimit: Int, repeats: Int, cores: Int,
    branches: (_ tokens: Int) throws -> [DilatedBranch]
  ) rethrows -> Double {
    let pairs = try tokens.reduce(0.0) { sum, tokens in
      let dilated = try branches(tokens).reduce(0.0) { sum, branch in
        let length = Double(min(branch.segmentLength, tokens))
        let rows = (length / Double(branch.dilationRate)).rounded(.up)
        return sum + Double(tokens) / length * rows * rows / (pattern.isCausal ? 2 : 1)
      }
      return sum + dilated + (tokens <= denseLimit ? pattern.pairs(tokens: tokens) : 0)
    }
    return Double(repeats + 1)
      * EstimatedSpeed(cores: cores).seconds(
        flops: pairs * Double(shape.queryHeads * pass.flopsPerPair(shape)), threads: threads)
  }

  /// One thing that is measured.
  private final class Contestant {
    let tokens: Int
    /// Nil for dense attention.
    let branches: [DilatedBranch]?
    let pass: any BenchPass
    var isDense: Bool { branches == nil }
    var times = Samples()

    init(tokens: Int, branches: [DilatedBranch]?, _ pass: any BenchPass) {
      self.tokens = tokens
      self.branches = branches
      self.pass = pass
    }
  }

  /// Measures every number of tokens, and the multiply–add peak of a core before each.
  ///
  /// - Parameters:
  ///   - tokens: ascending.
  ///   - denseLimit: the most tokens for dense attention.
  ///   - contestantIsOver: called for every one of a round, and of the one that warms up, with its
  ///     part of the whole.
  ///   - branches: of dilated attention over so many tokens.
  package func measure(
    tokens: [Int], denseLimit: Int, repeats: Int, on world: borrowing Communicator,
    contestantIsOver: (_ part: Double) -> Void, branches: (_ tokens: Int) throws -> [DilatedBranch]
  ) throws -> [LongNetBenchResult] {
    var contestants: [Contestant] = []
    for tokens in tokens {
      let list = try branches(tokens)
      let problem = LongNetBenchProblem(
        shape: shape, tokens: tokens, branches: list, pattern: pattern, threads: threads)
      contestants.append(
        Contestant(tokens: tokens, branches: list, try problem.prepared(pass, on: world)))
      if tokens <= denseLimit {
        let problem = KernelBenchProblem(
          shape: shape, tokens: tokens, queries: tokens, choice: pattern, dtype: .f32,
          threads: threads, accumulation: .fast)
        contestants.append(Contestant(tokens: tokens, branches: nil, problem.prepared(pass)))
      }
    }
    let allFlops = contestants.reduce(0) { $0 + flops($1) }
    var peaks = Samples()
    // The first round warms caches and threads up and is not counted.
    for round in 0...repeats {
      for contestant in contestants {
        let peak = clock.multiplyAddPeak()
        let seconds = try clock.seconds(contestant.pass.run)
        contestantIsOver(flops(contestant) / (allFlops * Double(repeats + 1)))
        if round == 0 { continue }
        peaks.append(peak)
        contestant.times.append(seconds)
      }
    }
    return contestants.map { contestant in
      let before = contestants.last {
        $0.tokens < contestant.tokens && $0.isDense == contestant.isDense
      }
      let dense = contestants.last { $0.tokens <= contestant.tokens && $0.isDense }
      return result(
        contestant, peak: peaks.median, before: before, dense: contestant.isDense ? nil : dense)
    }
  }

  /// - Parameters:
  ///   - peak: of one core, in flops a second.
  ///   - before: the same attention at the number of tokens before.
  ///   - dense: dense attention to compare with.
  private func result(
    _ contestant: Contestant, peak: Double, before: Contestant?, dense: Contestant?
  ) -> LongNetBenchResult {
    let flops = flops(contestant)
    let rate = flops / contestant.times.median
    let fields = LongNetBenchFields(
      pass: pass, tokens: contestant.tokens,
      attention: contestant.isDense ? .dense : .dilated,
      branches: contestant.branches?.map { "\($0.segmentLength):\($0.dilationRate)" }
        .joined(separator: ","), headDim: shape.headDim,
      queryHeads: shape.queryHeads, kvHeads: shape.kvHeads, threads: threads,
      clock: clock,
      seconds: contestant.times.median, secondsLow: contestant.times.interval.lowerBound,
      secondsHigh: contestant.times.interval.upperBound, spread: contestant.times.spread,
      pairs: contestant.pass.pairs, flops: flops, flopsPerSecond: rate,
      fmaPeakFlopsPerSecond: peak, fractionOfPeak: rate / (peak * Double(threads)),
      relativeToDense: dense.map {
        flops / self.flops($0) / contestant.times.medianRatio(to: $0.times)
      },
      timeRatio: before.map { contestant.times.medianRatio(to: $0.times) })
    return WithPattern(pattern, fields)
  }

  /// Useful ones, in floating point since they may exceed an integer.
  private func flops(_ contestant: Contestant) -> Double {
    Double(contestant.pass.pairs) * Double(pass.flopsPerPair(shape))
  }
}
