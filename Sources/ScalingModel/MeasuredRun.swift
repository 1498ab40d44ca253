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

  /// Takes a measurement.
  public init(
    problem: DenseProblem, ranks: Int, route: Route, pass: AttentionPass,
    cluster: Cluster, seconds: Double, computeOnlySeconds: Double? = nil
  ) {
    self.problem = problem
    self.ranks = ranks
    self.route = route
    self.pass = pass
    self.cluster = cluster
    self.seconds = seconds
    self.computeOnlySeconds = computeOnlySeconds
  }

  /// What the model says it takes.
  public func predictedSeconds(_ calibration: Calibration = Calibration()) -> Double {
    seconds(on: calibration.applied(to: cluster))
  }

  /// What the model says of the same without any transfer.
  func predictedComputeOnlySeconds(_ calibration: Calibration) -> Double {
    seconds(on: calibration.applied(to: cluster).withoutTransfers)
  }

  private func seconds(on cluster: Cluster) -> Double {
    cluster.predict(problem, ranks: ranks, route: route, pass: pass).seconds
  }
}
