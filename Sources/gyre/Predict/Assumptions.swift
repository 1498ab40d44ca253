import Attention
import Reporting
import Results
import ScalingModel

/// What a prediction rests on, said with it.
struct Assumptions: BenchSetting {
  /// In a line, for figures.
  let assumed: String
  let flopsPerSecondOfThread: Double
  let networkBytesPerSecond: Double
  let networkLatencySeconds: Double
  let networkWorkSecondsPerByte: Double
  let insideBytesPerSecond: Double
  let insideLatencySeconds: Double
  let insideWorkSecondsPerByte: Double
  let ranksPerHost: Int
  let threads: Int
  let cores: Nullable<Int>
  let sharedCores: Bool
  /// How many times as long a core takes when its host is full.
  let fullHostSlowdown: Double
  /// What memory gives all cores of a host; null if it is taken to be no limit.
  let memoryBytesPerSecond: Nullable<Double>
  let mapBy: String
  let noise: Double
  let startUpSeconds: Double
  /// What nobody has given or measured.
  let guesses: [String]

  init(_ cluster: Cluster, tokens: Int, guesses: [String]) {
    self.guesses = guesses
    let speed = cluster.kernel.flopsPerSecond(tokens: Double(tokens), .forward, isMasked: false)
    let count = cluster.ranksPerHost
    assumed =
      "assumed: \(threeDigits(speed / 1e9)) GFLOP/s a thread · \(count) "
      + "rank\(count == 1 ? "" : "s") "
      + "a host · links of \(threeDigits(cluster.network.bytesPerSecond / 1e9)) GB/s and "
      + "\(threeDigits(cluster.network.latency * 1e6)) µs · noise "
      + "\(fixed(cluster.noise * 100, 1)) %"
    flopsPerSecondOfThread = speed
    networkBytesPerSecond = cluster.network.bytesPerSecond
    networkLatencySeconds = cluster.network.latency
    networkWorkSecondsPerByte = cluster.network.cpuSecondsPerByte
    insideBytesPerSecond = cluster.inside.bytesPerSecond
    insideLatencySeconds = cluster.inside.latency
    insideWorkSecondsPerByte = cluster.inside.cpuSecondsPerByte
    ranksPerHost = cluster.ranksPerHost
    threads = cluster.threads
    cores = Nullable(value: cluster.cores)
    sharedCores = cluster.sharesCores
    let full = cluster.cores ?? count * cluster.threads
    fullHostSlowdown =
      cluster.coreCurve?.slowdown(ranks: count, threads: cluster.threads, cores: full) ?? 1
    memoryBytesPerSecond = Nullable(
      value: cluster.memory?.bytesPerSecond(cores: Double(min(full, count * cluster.threads))))
    mapBy = cluster.mapping.rawValue
    noise = cluster.noise
    startUpSeconds = cluster.startUp
  }

  var description: String {
    let place =
      cores.value.map {
        " on \($0) core\($0 == 1 ? "" : "s")\(sharedCores ? " that all hosts share" : "")"
      } ?? ", a core for each"
    let crowd =
      fullHostSlowdown == 1 && memoryBytesPerSecond.value == nil
      ? ""
      : "\nOn a host whose ranks are all at work a thread takes \(threeDigits(fullHostSlowdown)) "
        + "times as long"
        + (memoryBytesPerSecond.value.map { ", and together they read \(withPrefix($0))B/s" } ?? "")
        + "."
    return """
      Assumed: a thread computes \(withPrefix(flopsPerSecondOfThread))FLOP/s in one piece; \
      a host has \(ranksPerHost) rank\(ranksPerHost == 1 ? "" : "s") of \(threads) \
      thread\(threads == 1 ? "" : "s")\(place).
      A host sends \(withPrefix(networkBytesPerSecond))B/s and receives as much, \
      \(threeDigits(networkLatencySeconds * 1e6)) µs after, at \
      \(threeDigits(networkWorkSecondsPerByte * 1e9)) ns of processor time a byte; hosts do not \
      get in each other's way.
      Two ranks of a host exchange \(withPrefix(insideBytesPerSecond))B/s, \
      \(threeDigits(insideLatencySeconds * 1e6)) µs after. Visits vary by \
      \(fixed(noise * 100, 1)) %; a pass starts in \(threeDigits(startUpSeconds * 1e3)) ms.
      """ + crowd + (guesses.isEmpty ? "" : "\nGuesses: \(guesses.joined(separator: "; ")).")
  }
}
