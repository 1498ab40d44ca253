import Attention
import Glibc

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
  /// What cores take from each other in a job, over what was measured of them; where it was not,
  /// over ``usualCrowding``.
  public private(set) var crowdingShare: Double?
  /// What memory gives all cores of a host together, over what was measured; where it was not, over
  /// what such a host usually has.
  public private(set) var memoryShare: Double?

  /// How much longer than one alone a core usually takes when all of its host are at work, less
  /// one.
  public static let usualCrowding = 0.2

  /// Leaves a cluster as it is.
  public init() {}

  /// Fits the seven numbers to runs.
  ///
  /// What counts is how far the logarithms of predicted and measured seconds are apart, of runs and
  /// of the same without transfers: its square for some hundredths, and itself beyond, since a host
  /// on which others work makes single runs slow by much. Each number is drawn a little towards
  /// what the description says: a factor of e counts as much as an error of 1 %. That of memory is
  /// drawn 400 times as much: runs say little of it, as most of it hides behind computing.
  ///
  /// - Complexity: about a thousand predictions of every run.
  public init(fitting runs: [MeasuredRun]) {
    func misfit(_ place: [Double]) -> Double {
      let calibration = Calibration(logarithms: place, runs)
      let misfit = runs.reduce(0.0) { sum, run in
        sum + Self.loss(run.predictedSeconds(calibration) / run.seconds)
          + (run.computeOnlySeconds.map {
            Self.loss(run.predictedComputeOnlySeconds(calibration) / $0)
          } ?? 0)
      }
      let drawn = zip(place, Self.drawn).reduce(0.0) { $0 + $1.1 * $1.0 * $1.0 }
      return misfit + drawn
    }
    var best = Self.drawn.map { _ in 0.0 }
    // A second search from where the first has ended, which may be a fold.
    for step in [0.3, 0.1] {
      best = NelderMead.minimum(of: misfit, from: best, step: step, evaluations: 400)
    }
    self = Calibration(logarithms: best, runs)
  }

  /// Of each logarithm, what its square counts.
  private static let drawn = [1, 1, 1, 1, 1, 1, 400].map { $0 * loss(exp(0.01)) }

  /// What a quotient of predicted and measured seconds counts.
  ///
  /// Source: the pseudo-Huber loss; Charbonnier, Blanc-Féraud, Aubert, Barlaud 1997, Deterministic
  /// Edge-Preserving Regularization in Computed Imaging.
  private static func loss(_ quotient: Double) -> Double {
    let width = 0.03
    let error = log(quotient) / width
    return width * ((1 + error * error).squareRoot() - 1)
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
    crowdingShare = exp(logarithms[5])
    memoryShare = exp(logarithms[6])
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
    guard let cores = cluster.cores, cores > 1 else { return result }
    if let crowdingShare {
      let curve = cluster.coreCurve ?? CoreCurve(crowding: Self.usualCrowding, cores: cores)
      result.coreCurve = curve.scaled(by: crowdingShare)
    }
    if let memoryShare {
      let usual = MemoryCurve(bytesPerSecond: MemoryCurve.usualBytesPerSecond(cores: cores))
      result.memory = (cluster.memory ?? usual).scaled(by: memoryShare)
    }
    return result
  }
}
