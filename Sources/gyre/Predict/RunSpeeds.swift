import Attention
import Reporting
import Results
import ScalingModel

/// What runs of gyre bench strong and weak let on about the machines, where nothing else tells.
struct RunSpeeds {
  /// From the runs on fewest ranks; nil if there are none.
  let kernel: KernelCurve?
  /// What of the runs it is, for a list of sources.
  let ofKernel: String

  /// A rate that fitting corrects, and that the rate that a run notes replaces: 10 Gbit/s.
  let network = Link(latency: 20e-6, bytesPerSecond: 1.25e9, cpuSecondsPerByte: 0)
  static let ofNetwork =
    "links between hosts at the rate that a run notes, or else 10 Gbit/s, a guess"
  /// What a core copies in memory.
  let inside = Link(latency: 1e-6, bytesPerSecond: 5e9, cpuSecondsPerByte: 0)
  static let ofInside = "links inside a host at 5 GB/s, a guess"

  /// - Parameters:
  ///   - rows: of runs that the speed may be taken from.
  ///   - arithmetic: of those that count.
  ///   - name: what those are.
  init(_ rows: [ResultRow], of dims: HeadDims, _ arithmetic: Arithmetic, name: String) {
    let runs = rows.compactMap(Speed.init).filter {
      $0.dims == dims && $0.arithmetic == arithmetic
    }
    let fewest = runs.map(\.ranks).min() ?? 0
    let chosen = runs.filter { $0.ranks == fewest }
    var curve = KernelCurve()
    for pass in [AttentionPass.forward, .backward] {
      for isMasked in [false, true] {
        // A mask that was not run is as far from the other as it usually is.
        let wasRun = chosen.contains { $0.pass == pass && $0.isMasked == isMasked }
        let areMasked = wasRun ? isMasked : !isMasked
        let points = chosen.filter { $0.pass == pass && $0.isMasked == areMasked }.map {
          KernelCurve.Point(tokens: $0.tokensPerRank, flopsPerSecond: $0.flopsPerSecond)
        }
        curve.setUsualCurve(through: points, areMasked: areMasked, pass, isMasked: isMasked)
      }
    }
    kernel = chosen.isEmpty ? nil : curve
    ofKernel =
      "the kernel's speed of \(chosen.count) of the \(name) runs, on \(counted(fewest, "rank"))"
  }

  /// How fast a thread computed in a run.
  private struct Speed {
    let ranks: Int
    let dims: HeadDims
    let arithmetic: Arithmetic
    let pass: AttentionPass
    let isMasked: Bool
    let tokensPerRank: Double
    let flopsPerSecond: Double

    init?(_ row: ResultRow) {
      guard ["strong", "weak"].contains(row.benchmark), let run = RunKey(row),
        let seconds = row.positive("computeSeconds") ?? row.positive("seconds")
      else { return nil }
      ranks = run.ranks
      dims = HeadDims(run.problem.shape)
      arithmetic = run.arithmetic
      pass = run.pass
      isMasked = run.problem.pattern.isCausal
      tokensPerRank = Double(run.problem.tokens) / Double(run.ranks)
      let flops = run.problem.pairs * Double(run.problem.shape.flops(run.pass))
      // Threads that share cores take turns.
      let threads = run.ranks * run.threads
      let machines = max(1, row.environment["machines"]?.double ?? 1)
      let cores = (row.environment["cores"]?.double).map { $0 * machines } ?? Double(threads)
      flopsPerSecond = flops / seconds / max(1, min(Double(threads), cores))
    }
  }
}

extension AttentionShape {
  /// Useful flops of a visible pair of one head.
  fileprivate func flops(_ pass: AttentionPass) -> Int {
    pass == .forward ? forwardFlopsPerPair : backwardFlopsPerPair
  }
}
