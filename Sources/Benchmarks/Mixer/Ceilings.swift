import Attention
import Compute
import KernelSets

/// The multiply–add peak of a core and the rate at which memory is read, measured between others.
final class Ceilings {
  private let memory = MemoryBandwidth()
  private(set) var peaks = Samples()
  private(set) var bandwidths = Samples()

  /// Forgets what was measured.
  func reset() { (peaks, bandwidths) = (Samples(), Samples()) }

  /// Measures once.
  func measure(threads: Int) -> RankFigures {
    var figures = RankFigures()
    figures.seconds = BenchClock.wall.seconds {
      peaks.append(MultiplyAddPeak.flopsPerSecond())
      bandwidths.append(memory.bytesPerSecond(team: ThreadTeam(threads: threads)))
    }
    return figures
  }

  /// What a rank of so many threads cannot be faster than.
  func bound(threads: Int) -> MixerSpeed.Bound {
    MixerSpeed.Bound(threads: threads, peak: peaks.median, bandwidth: bandwidths.median)
  }
}
