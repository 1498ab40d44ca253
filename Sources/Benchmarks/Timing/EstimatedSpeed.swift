import Attention
import KernelSets

/// How fast this machine computes attention, by guess: to say beforehand about how long something
/// takes.
struct EstimatedSpeed {
  private let flopsPerSecondOfCore: Double
  private let cores: Int

  /// - Parameter cores: that the job may use.
  init(cores: Int) {
    // Kernels reach about this part of the peak.
    flopsPerSecondOfCore = 0.6 * MultiplyAddPeak.flopsPerSecond()
    self.cores = max(1, cores)
  }

  /// About how long so many operations take on some ranks' threads together.
  func seconds(flops: Double, ranks: Int = 1, threads: Int) -> Double {
    let atOnce = Double(min(Double(ranks) * Double(threads), Double(cores)))
    // Starting takes time too.
    return flops / (flopsPerSecondOfCore * atOnce) + 1e-3
  }
}
