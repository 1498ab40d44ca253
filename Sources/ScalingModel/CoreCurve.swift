import Glibc

/// What the cores of a host take from each other: how many times as long the same computing takes
/// when several of them are at work.
///
/// Reasons are two threads of a core that count as two cores, clocks that fall with the load,
/// caches and memory that all share, and other guests of the machine, which every core meets at
/// its own time. Between points it is linear; past the last it stays.
public struct CoreCurve: Hashable, Sendable {
  /// A measured number of cores.
  public struct Point: Hashable, Sendable {
    /// That compute at the same time, each on something of its own.
    public let cores: Double
    /// The mean of their times, over that of one alone.
    public let mean: Double
    /// The longest of their times, over that of one alone.
    public let slowest: Double

    /// So many cores, and their times.
    public init(cores: Double, mean: Double, slowest: Double) {
      self.cores = cores
      self.mean = mean
      self.slowest = slowest
    }
  }

  private let points: [Point]

  /// Takes the points in any order; one core alone needs none.
  public init(_ points: [Point]) {
    let others = points.filter { $0.cores > 1 }.sorted { $0.cores < $1.cores }
    self.points = [Point(cores: 1, mean: 1, slowest: 1)] + others
  }

  /// A host whose cores are undisturbed until half of them are at work, and then slow down evenly,
  /// as threads do that have to share a core with their neighbours.
  ///
  /// - Parameters:
  ///   - crowding: how much longer than one alone a core takes when all are at work, less one: 1
  ///     where the second half adds nothing, 0 where no core notices the others.
  ///   - evenShare: the part of it that the mean core takes too, where it is the slowest's.
  ///   - cores: of the host.
  public init(crowding: Double, evenShare: Double = 1, cores: Int) {
    let half = Point(cores: Double(cores) / 2, mean: 1, slowest: 1)
    let all = Point(
      cores: Double(cores), mean: 1 + evenShare * crowding, slowest: 1 + crowding)
    self.init([half, all])
  }

  /// The same with another share of what comes on top of one core alone.
  func scaled(by factor: Double) -> CoreCurve {
    CoreCurve(
      points.map {
        Point(
          cores: $0.cores, mean: 1 + factor * ($0.mean - 1), slowest: 1 + factor * ($0.slowest - 1))
      })
  }

  /// How many times as long ranks of a host take that compute at the same time.
  ///
  /// Threads of a rank take pieces of work when they are free, so that it is their mean that
  /// counts; ranks wait for the slowest of them, which differs from the mean by less the more
  /// threads even out in each: by 1/√threads of what single cores do, and by √ln of their number.
  ///
  /// - Parameters:
  ///   - ranks: of the host.
  ///   - threads: of a rank.
  ///   - cores: of the host; more threads than these do not compute at the same time.
  public func slowdown(ranks: Int, threads: Int, cores: Int) -> Double {
    let active = Double(min(ranks * threads, cores))
    let mean = value(active, \.mean)
    if ranks < 2 || active < 2 { return mean }
    let evened = (log(Double(min(ranks, cores))) / (log(active) * Double(threads))).squareRoot()
    return mean + (value(active, \.slowest) - mean) * min(1, evened)
  }

  /// How many times as long as the mean of them the slowest of so many ranks takes, where each has
  /// a core of its own for each of its threads.
  func unevenness(ranks: Int, threads: Int, cores: Int) -> Double {
    slowdown(ranks: ranks, threads: threads, cores: cores)
      / value(Double(min(ranks * threads, cores)), \.mean)
  }

  private func value(_ cores: Double, _ figure: KeyPath<Point, Double>) -> Double {
    guard let right = points.firstIndex(where: { $0.cores >= cores }) else {
      return points[points.count - 1][keyPath: figure]
    }
    if right == 0 { return points[0][keyPath: figure] }
    let (low, high) = (points[right - 1], points[right])
    let share = (cores - low.cores) / (high.cores - low.cores)
    return low[keyPath: figure] + share * (high[keyPath: figure] - low[keyPath: figure])
  }
}
