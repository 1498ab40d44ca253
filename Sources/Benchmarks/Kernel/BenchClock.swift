import Attention
import KernelSets
import Glibc

/// `--clock wall|cpu`: what a benchmark calls time.
package enum BenchClock: String, CaseIterable, Encodable, Sendable {
  case wall
  /// Processor time of all threads: what one thread would take on a machine that nobody else uses.
  case cpu

  /// The seconds that something takes.
  func seconds(_ body: () throws -> Void) rethrows -> Double {
    let start = now
    try body()
    return now - start
  }

  /// The multiply–add peak of one core in flops a second of this clock.
  func multiplyAddPeak() -> Double {
    var flopsPerWallSecond = 0.0
    var wall = 0.0
    let own = seconds {
      wall = BenchClock.wall.seconds { flopsPerWallSecond = MultiplyAddPeak.flopsPerSecond() }
    }
    return flopsPerWallSecond * wall / own
  }

  private var now: Double {
    var time = timespec()
    unsafe clock_gettime(self == .wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}
