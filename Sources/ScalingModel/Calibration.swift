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
  /// The part of that which the mean core takes too, at most 1.
  ///
  /// The rest only the slowest core takes, which ranks wait for and threads of a rank do not.
  /// Measured curves say it themselves.
  public private(set) var evenShare: Double?
  /// What memory gives all cores of a host together, over what was measured; where it was not, over
  /// what such a host usually has.
  public private(set) var memoryShare: Double?
  /// How many times as long everything took in the minutes of a comparison as it does on the
  /// average of all; empty where there was only one.
  public internal(set) var drifts: [String: Double] = [:]

  /// How much longer than one alone a core usually takes when all of its host are at work, less
  /// one.
  public static let usualCrowding = 0.2

  /// Leaves a cluster as it is.
  public init() {}

  /// How many numbers ``init(logarithms:_:)`` takes.
  static let count = 8

  /// Factors, as logarithms, on what the runs' description says.
  init(logarithms: [Double], _ runs: [MeasuredRun]) {
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
    evenShare = runs.contains(where: \.tellsUnevenness) ? min(1, exp(logarithms[7])) : 1
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
      let usual = CoreCurve(
        crowding: Self.usualCrowding, evenShare: evenShare ?? 1, cores: cores)
      let curve = cluster.coreCurve ?? usual
      result.coreCurve = curve.scaled(by: crowdingShare)
    }
    if let memoryShare {
      let usual = MemoryCurve(bytesPerSecond: MemoryCurve.usualBytesPerSecond(cores: cores))
      result.memory = (cluster.memory ?? usual).scaled(by: memoryShare)
    }
    return result
  }
}
