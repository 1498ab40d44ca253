import Attention
import ScalingModel
import SequenceParallel
import Sharding

/// `gyre bench weak` on a real host of 16 virtual Sapphire Rapids cores with other guests: 2,048
/// tokens a rank, 8 heads of dim 64, causal, zigzag, one thread a rank, one round of each.
///
/// Source: measured on 2026-11-27 with a build for x86-64-v4 of commit 05fb084 and Open MPI 4.1.6,
/// `mpirun --bind-to core -n 16 gyre bench weak --tokens 2048 --transport shared,ring`.
enum NoisyHost {
  /// Pass, transport, ranks, seconds, seconds of the same without transfers, and how many times as
  /// long as the mean the slowest rank computed.
  private static let rows: [(AttentionPass, Route, Int, Double, Double, Double)] = [
    (.forward, .shared, 1, 0.0838, 0.0700, 1.00),
    (.forward, .shared, 2, 0.1366, 0.1385, 1.24),
    (.forward, .shared, 4, 0.3665, 0.2648, 1.25),
    (.forward, .shared, 8, 0.4951, 0.6100, 1.16),
    (.forward, .shared, 16, 1.5556, 1.5989, 1.37),
    (.backward, .shared, 1, 0.2363, 0.1736, 1.00),
    (.backward, .shared, 2, 0.3612, 0.3594, 1.30),
    (.backward, .shared, 4, 0.7519, 0.8187, 1.17),
    (.backward, .shared, 8, 1.5299, 2.0635, 1.20),
    (.backward, .shared, 16, 4.0335, 4.2448, 1.40),
    (.forward, .ring, 1, 0.0714, 0.0650, 1.00),
    (.forward, .ring, 2, 0.1236, 0.1370, 1.07),
    (.forward, .ring, 4, 0.2329, 0.2525, 1.06),
    (.forward, .ring, 8, 0.5171, 0.5383, 1.06),
    (.forward, .ring, 16, 1.4068, 1.2470, 1.34),
    (.backward, .ring, 1, 0.1338, 0.1340, 1.00),
    (.backward, .ring, 2, 0.4062, 0.3021, 1.05),
    (.backward, .ring, 4, 0.7538, 0.5886, 1.11),
    (.backward, .ring, 8, 1.4245, 1.3777, 1.13),
    (.backward, .ring, 16, 3.7698, 3.4119, 1.20),
  ]

  /// All runs, on a description that knows no more than what one rank computed.
  static let runs = rows.map { pass, route, ranks, seconds, computing, unevenness in
    MeasuredRun(
      problem: DenseProblem(
        shape: AttentionShape(batch: 1, queryHeads: 8, kvHeads: 8, headDim: 64, valueHeadDim: 64),
        tokens: 2048 * ranks, layout: .zigzag, pattern: .causal),
      ranks: ranks, route: route, pass: pass, cluster: cluster(ranks: ranks), seconds: seconds,
      computeOnlySeconds: computing, unevenness: ranks == 1 ? nil : unevenness,
      comparison: "\(route)")
  }

  /// How many times as long as one rank of all cores several that share them take for both passes
  /// of 32,768 tokens, as a calibration says.
  static func split(_ ranks: Int, _ calibration: Calibration) -> Double {
    func seconds(_ ranks: Int) -> Double {
      var machines = cluster(ranks: ranks)
      machines.threads = 16 / ranks
      let shape = AttentionShape(
        batch: 1, queryHeads: 8, kvHeads: 8, headDim: 64, valueHeadDim: 64)
      let problem = DenseProblem(
        shape: shape, tokens: 32768, layout: .zigzag, pattern: .causal)
      return [AttentionPass.forward, .backward].reduce(0) {
        $0
          + calibration.applied(to: machines).predict(
            problem, ranks: ranks, route: .shared, pass: $1
          ).seconds
      }
    }
    return seconds(ranks) / seconds(1)
  }

  private static func cluster(ranks: Int) -> Cluster {
    var kernel = KernelCurve()
    for pass in [AttentionPass.forward, .backward] {
      let point = KernelCurve.Point(tokens: 2048, flopsPerSecond: pass == .forward ? 60e9 : 82e9)
      for isMasked in [false, true] {
        kernel.setUsualCurve(through: [point], areMasked: true, pass, isMasked: isMasked)
      }
    }
    var cluster = Cluster(
      kernel: kernel, network: Link(latency: 2e-5, bytesPerSecond: 1.25e9),
      inside: Link(latency: 1e-6, bytesPerSecond: 5e9), ranksPerHost: ranks)
    cluster.cores = 16
    return cluster
  }

  /// The mean error of a calibration on some runs.
  static func error(_ calibration: Calibration, on runs: [MeasuredRun]) -> Double {
    runs.reduce(0) { $0 + abs($1.predictedSeconds(calibration) / $1.seconds - 1) }
      / Double(runs.count)
  }
}
