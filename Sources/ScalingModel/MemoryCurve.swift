/// What the cores of a host get out of its memory together, by how many of them ask.
///
/// Between points it is linear; below the first it is in proportion, and past the last it stays.
public struct MemoryCurve: Hashable, Sendable {
  /// A measured number of cores.
  public struct Point: Hashable, Sendable {
    /// That read at the same time.
    public let cores: Double
    /// Of all of them together.
    public let bytesPerSecond: Double

    /// So many cores, and what they read.
    public init(cores: Double, bytesPerSecond: Double) {
      self.cores = cores
      self.bytesPerSecond = bytesPerSecond
    }
  }

  private let points: [Point]

  /// Takes the points in any order.
  ///
  /// - Precondition: there is one.
  public init(_ points: [Point]) {
    precondition(!points.isEmpty, "a memory has a speed")
    self.points = points.sorted { $0.cores < $1.cores }
  }

  /// A ceiling that one core reaches.
  public init(bytesPerSecond: Double) {
    self.init([Point(cores: 1, bytesPerSecond: bytesPerSecond)])
  }

  /// What hosts usually have, where nobody has measured it: 15 GB/s for a core, and four times
  /// that for sixteen, which share their channels.
  public static func usualBytesPerSecond(cores: Int) -> Double {
    15e9 * Double(cores).squareRoot()
  }

  /// So many times the memory.
  func scaled(by factor: Double) -> MemoryCurve {
    MemoryCurve(points.map { Point(cores: $0.cores, bytesPerSecond: factor * $0.bytesPerSecond) })
  }

  /// Of so many cores together.
  public func bytesPerSecond(cores: Double) -> Double {
    guard let right = points.firstIndex(where: { $0.cores >= cores }) else {
      return points[points.count - 1].bytesPerSecond
    }
    let high = points[right]
    if right == 0 { return high.bytesPerSecond * cores / high.cores }
    let low = points[right - 1]
    let share = (cores - low.cores) / (high.cores - low.cores)
    return low.bytesPerSecond + share * (high.bytesPerSecond - low.bytesPerSecond)
  }
}
