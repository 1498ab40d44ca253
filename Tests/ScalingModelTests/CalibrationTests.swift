import Attention
import ScalingModel
import SequenceParallel
import Sharding
import Testing

/// That fitting finds what made the runs.
@Suite("Calibration of the scaling model")
struct CalibrationTests {
  private func run(
    ranks: Int, tokens: Int, pass: AttentionPass, bytesPerSecond: Double,
    cores: Int = 2, unevenness: Double? = nil, comparison: String? = nil, drift: Double = 1,
    secondsOf truth: (Cluster) -> Cluster
  ) -> MeasuredRun {
    var machines = Cluster(
      kernel: KernelCurve(flopsPerSecond: 1e9),
      network: Link(latency: 1e-4, bytesPerSecond: bytesPerSecond),
      inside: Link(latency: 0, bytesPerSecond: 1e10))
    machines.cores = cores
    machines.sharesCores = true
    let problem = DenseProblem(
      shape: AttentionShape(batch: 1, queryHeads: 4, kvHeads: 4, headDim: 64, valueHeadDim: 64),
      tokens: tokens, layout: .contiguous, pattern: .full)
    let seconds = truth(machines).predict(
      problem, ranks: ranks, route: .ring, pass: pass
    ).seconds
    return MeasuredRun(
      problem: problem, ranks: ranks, route: .ring, pass: pass, cluster: machines,
      seconds: drift * seconds, unevenness: unevenness, comparison: comparison)
  }

  @Test("a slower kernel, a slower link and work for bytes are found, and predict other runs")
  func recovers() {
    func truth(_ cluster: Cluster) -> Cluster {
      var result = cluster
      result.kernel.scale(by: 0.8, .forward)
      result.kernel.scale(by: 0.6, .backward)
      result.network.bytesPerSecond *= 0.9
      result.network.cpuSecondsPerByte = 1e-8
      return result
    }
    func runs(_ ranks: [Int], _ tokens: [Int], _ rates: [Double]) -> [MeasuredRun] {
      ranks.flatMap { ranks in
        tokens.flatMap { tokens in
          rates.flatMap { rate in
            [AttentionPass.forward, .backward].map { pass in
              run(
                ranks: ranks, tokens: tokens * ranks, pass: pass, bytesPerSecond: rate,
                secondsOf: truth)
            }
          }
        }
      }
    }
    let calibration = Calibration(fitting: runs([1, 2, 4], [512, 2048], [1e6, 1e8]))
    #expect(abs(calibration.forwardSpeed - 0.8) < 0.04, "\(calibration)")
    #expect(abs(calibration.backwardSpeed - 0.6) < 0.04, "\(calibration)")
    #expect(abs(calibration.networkSpeed - 0.9) < 0.05, "\(calibration)")
    for unseen in runs([3], [1024], [3e6]) {
      let error = unseen.predictedSeconds(calibration) / unseen.seconds - 1
      #expect(abs(error) < 0.05, "\(error)")
    }
    // Without it they are far off.
    let without = runs([3], [1024], [3e6]).map { $0.predictedSeconds() / $0.seconds - 1 }
    #expect(without.contains { abs($0) > 0.15 }, "\(without)")
  }

  @Test("a real host is met as nearly as it varies, and so are runs of it that were left out")
  func noisyHost() {
    let runs = NoisyHost.runs
    let calibration = Calibration(fitting: runs)
    #expect(NoisyHost.error(calibration, on: runs) < 0.09)
    // Each number of ranks in turn is unseen.
    let unseen = [1, 2, 4, 8, 16].map { ranks in
      let others = Calibration(fitting: runs.filter { $0.ranks != ranks })
      return NoisyHost.error(others, on: runs.filter { $0.ranks == ranks })
    }
    #expect(unseen.reduce(0, +) / 5 < 0.125, "\(unseen)")
    // Other splits of that host took 4.84, 3.86 and 3.56 s. Runs of one thread tell.
    for (ranks, measured) in [(16, 4.84 / 3.56), (4, 3.86 / 3.56)] {
      let split = NoisyHost.split(ranks, calibration)
      #expect(abs(split / measured - 1) < 0.06, "\(ranks) ranks: \(split)")
    }
  }

  @Test("minutes in which all takes longer are told from slow transfers, and not foretold")
  func drifts() throws {
    func truth(_ cluster: Cluster) -> Cluster {
      var result = cluster
      result.kernel.scale(by: 0.8, .forward)
      result.network.cpuSecondsPerByte = 1e-8
      return result
    }
    func runs(_ ranks: [Int], _ rate: Double, _ comparison: String?, _ drift: Double)
      -> [MeasuredRun]
    {
      [AttentionPass.forward, .backward].flatMap { pass in
        ranks.map { ranks in
          run(
            ranks: ranks, tokens: 1024 * ranks, pass: pass, bytesPerSecond: rate,
            comparison: comparison, drift: drift, secondsOf: truth)
        }
      }
    }
    let fast = runs([1, 2, 4], 1e6, "slow link, fast minute", 1 / 1.1)
    let slow = runs([1, 2, 4], 1e8, "fast link, slow minute", 1.1)
    let calibration = Calibration(fitting: fast + slow)
    let drifts = try [fast, slow].map { runs in
      try #require(runs.first?.comparison.flatMap { calibration.drifts[$0] })
    }
    #expect(abs(drifts[1] / drifts[0] - 1.21) < 0.04, "\(calibration)")
    for unseen in runs([3], 3e6, nil, 1) + runs([3], 3e6, "another minute", 1) + fast + slow {
      let error = unseen.predictedSeconds(calibration) / unseen.seconds - 1
      #expect(abs(error) < 0.05, "\(error)")
    }
    #expect(Calibration(fitting: slow).drifts.isEmpty)
  }

  @Test("what cores of a full host take from each other is found, and predicts other runs")
  func crowding() throws {
    func truth(_ cluster: Cluster) -> Cluster {
      var result = cluster
      result.coreCurve = CoreCurve(crowding: 0.6, evenShare: 0.25, cores: 8)
      return result
    }
    let unevenness: [Int: Double] = [2: 1, 4: 1, 6: 1.3 / 1.075, 8: 1.6 / 1.15]
    func runs(_ ranks: [Int]) -> [MeasuredRun] {
      ranks.map { ranks in
        let run = run(
          ranks: ranks, tokens: 1024 * ranks, pass: .forward, bytesPerSecond: 1e12, cores: 8,
          unevenness: unevenness[ranks], secondsOf: truth)
        return run
      }
    }
    let calibration = Calibration(fitting: runs([1, 2, 4, 6, 8]))
    let crowding = try #require(calibration.crowdingShare) * Calibration.usualCrowding
    #expect(abs(crowding - 0.6) < 0.04, "\(calibration)")
    let evenShare = try #require(calibration.evenShare)
    #expect(abs(evenShare - 0.25) < 0.02, "\(calibration)")
    for unseen in runs([3, 5, 7]) {
      let error = unseen.predictedSeconds(calibration) / unseen.seconds - 1
      #expect(abs(error) < 0.03, "\(error)")
    }
  }

  @Test("a curve is met at its points, and goes on past them as it says")
  func curve() {
    var curve = KernelCurve()
    let points = [(512.0, 50e9), (2048.0, 80e9)].map {
      KernelCurve.Point(tokens: $0.0, flopsPerSecond: $0.1)
    }
    curve.setCurve(points.reversed(), .forward, isMasked: false)
    func speed(_ tokens: Double) -> Double {
      curve.flopsPerSecond(tokens: tokens, .forward, isMasked: true) / 1e9
    }
    #expect(speed(512) == 50 && speed(2048) == 80 && speed(1e6) == 80)
    #expect(abs(speed(1024) - 65) < 1e-9 && abs(speed(64) - 6.25) < 1e-9)
    #expect(!curve.covers(.backward) && curve.covers(.forward))
    #expect(curve.flopsPerSecond(tokens: 2048, .backward, isMasked: false) == 80e9)
  }
}
