public import Attention
import Glibc
public import SequenceParallel

/// A run that was measured.
public struct MeasuredRun: Sendable {
  /// What was computed.
  public let problem: DenseProblem
  /// By how many ranks.
  public let ranks: Int
  /// How blocks got to them.
  public let route: Route
  /// Which pass.
  public let pass: AttentionPass
  /// On what, before any fitting.
  public let cluster: Cluster
  /// What it took.
  public let seconds: Double

  /// Takes a measurement.
  public init(
    problem: DenseProblem, ranks: Int, route: Route, pass: AttentionPass,
    cluster: Cluster, seconds: Double
  ) {
    self.problem = problem
    self.ranks = ranks
    self.route = route
    self.pass = pass
    self.cluster = cluster
    self.seconds = seconds
  }

  /// What the model says it takes.
  public func predictedSeconds(_ calibration: Calibration = Calibration()) -> Double {
    calibration.applied(to: cluster)
      .predict(problem, ranks: ranks, route: route, pass: pass).seconds
  }
}

/// What a cluster's description gets wrong, found out from some runs.
public struct Calibration: Hashable, Sendable {
  /// The speed of the kernel inside a job, over that measured by itself.
  public private(set) var forwardSpeed = 1.0
  /// The same of the backward pass.
  public private(set) var backwardSpeed = 1.0
  /// What a host's link carries, over what it was said to.
  public private(set) var networkSpeed = 1.0
  /// The processor time of a byte between hosts, in seconds at each end.
  public private(set) var networkWork: Double?
  /// The processor time of a byte inside a host.
  public private(set) var insideWork: Double?

  /// Leaves a cluster as it is.
  public init() {}

  /// Fits the five numbers to runs, by least squares of the logarithms of the seconds, each drawn
  /// a little towards what the description says: a factor of e counts as much as an error of 1 %.
  ///
  /// - Complexity: some hundreds of predictions of every run.
  public init(fitting runs: [MeasuredRun]) {
    let best = NelderMead.minimum(
      of: { place in
        let calibration = Calibration(logarithms: place, runs)
        let misfit = runs.reduce(0.0) { sum, run in
          let error = log(run.predictedSeconds(calibration) / run.seconds)
          return sum + error * error
        }
        let drawn = place.reduce(0.0) { $0 + $1 * $1 } * 1e-4
        return misfit + drawn
      }, from: [0, 0, 0, 0, 0], step: 0.2, evaluations: 400)
    self = Calibration(logarithms: best, runs)
  }

  /// Factors, as logarithms, on what the runs' description says.
  private init(logarithms: [Double], _ runs: [MeasuredRun]) {
    let cluster = runs.first?.cluster
    forwardSpeed = exp(logarithms[0])
    backwardSpeed = exp(logarithms[1])
    networkSpeed = exp(logarithms[2])
    // Where nothing is known, a few tenths of a nanosecond: copies through a TCP socket, and in
    // memory.
    networkWork = exp(logarithms[3]) * (cluster.flatMap { Self.known($0.network) } ?? 3e-10)
    insideWork = exp(logarithms[4]) * (cluster.flatMap { Self.known($0.inside) } ?? 1e-10)
  }

  private static func known(_ link: Link) -> Double? {
    link.cpuSecondsPerByte > 0 ? link.cpuSecondsPerByte : nil
  }

  /// The cluster as the runs have shown it.
  public func applied(to cluster: Cluster) -> Cluster {
    var result = cluster
    result.kernel.scale(by: forwardSpeed, .forward)
    result.kernel.scale(by: backwardSpeed, .backward)
    result.network.bytesPerSecond *= networkSpeed
    if let networkWork { result.network.cpuSecondsPerByte = networkWork }
    if let insideWork { result.inside.cpuSecondsPerByte = insideWork }
    return result
  }
}
