public import Attention
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
  /// What the same visits took in the same rounds without any transfer; nil where that was not
  /// measured.
  public let computeOnlySeconds: Double?
  /// How many times as long as the mean of them the slowest rank computed; nil where that was not
  /// measured.
  public let unevenness: Double?
  /// A name of all that was measured in turn with it, in the same minutes; nil where that is not
  /// known.
  public let comparison: String?

  /// Takes a measurement.
  public init(
    problem: DenseProblem, ranks: Int, route: Route, pass: AttentionPass,
    cluster: Cluster, seconds: Double, computeOnlySeconds: Double? = nil,
    unevenness: Double? = nil, comparison: String? = nil
  ) {
    self.problem = problem
    self.ranks = ranks
    self.route = route
    self.pass = pass
    self.cluster = cluster
    self.seconds = seconds
    self.computeOnlySeconds = computeOnlySeconds
    self.unevenness = unevenness
    self.comparison = comparison
  }

  /// What the model says it takes, in the minutes of its comparison if they are known.
  public func predictedSeconds(_ calibration: Calibration = Calibration()) -> Double {
    let drift = comparison.flatMap { calibration.drifts[$0] } ?? 1
    return drift * prediction(on: calibration.applied(to: cluster)).seconds
  }

  /// Whether its unevenness says something of its cores, which nobody has measured otherwise.
  var tellsUnevenness: Bool { unevenness != nil && cluster.coreCurve == nil }

  /// What the model says of the seconds, in minutes like the average, and of the unevenness; nil
  /// where threads share cores.
  func predicted(_ calibration: Calibration) -> (seconds: Double, unevenness: Double?) {
    let applied = calibration.applied(to: cluster)
    let prediction = prediction(on: applied)
    let unevenness = applied.coreUnevenness(ranks: ranks).map {
      $0 * (1 + prediction.imbalanceSeconds / prediction.computeSeconds)
    }
    return (prediction.seconds, unevenness)
  }

  /// What the model says of the same without any transfer, in minutes like the average.
  func predictedComputeOnlySeconds(_ calibration: Calibration) -> Double {
    prediction(on: calibration.applied(to: cluster).withoutTransfers).seconds
  }

  private func prediction(on cluster: Cluster) -> Prediction {
    cluster.predict(problem, ranks: ranks, route: route, pass: pass)
  }
}
