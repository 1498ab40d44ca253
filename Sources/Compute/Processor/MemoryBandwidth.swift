import Tensors

/// The rate at which a team of threads reads memory when it does nothing else: the ceiling of
/// whatever looks at its operands once, such as attention over few query rows.
public struct MemoryBandwidth: ~Copyable {
  /// More than the last-level cache of any processor holds of what it has just read.
  private static let bytes = 512 << 20

  private let buffer: AlignedBuffer<Float>

  /// Takes half a GiB and touches it: pages that nobody has written are all one page of zeros.
  public init() {
    buffer = AlignedBuffer(repeating: 1, count: Self.bytes / MemoryLayout<Float>.stride)
  }

  /// Reads one half of the buffer along one stream a thread, the other along four: which is faster
  /// depends on the processor and on how many of its cores are at work.
  ///
  /// - Returns: bytes a second of all threads together, the faster way.
  public func bytesPerSecond(team: ThreadTeam) -> Double {
    let half = buffer.count / 2
    let rates = [1, 4].enumerated().map { index, streams in
      let pass = unsafe StreamingRead(
        base: UnsafePointer(buffer.unsafeBaseAddress) + index * half, count: half,
        streams: streams)
      let duration = ContinuousClock().measure { team.run(pass, poll: { _ in }) }
      return Double(Self.bytes / 2) / (duration / .seconds(1))
    }
    return max(rates[0], rates[1])
  }
}

/// Adds up numbers that lie one after the other.
@safe
private struct StreamingRead: ThreadedPass, @unchecked Sendable {
  /// Floats of a unit: 4 MiB.
  private static let unit = 1 << 20

  let base: UnsafePointer<Float>
  let count: Int
  let streams: Int

  var unitCount: Int { count / Self.unit }

  @unsafe
  init(base: UnsafePointer<Float>, count: Int, streams: Int) {
    unsafe self.base = base
    self.count = count
    self.streams = streams
  }

  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    while let unit = units.next() {
      let first = unsafe base + unit * Self.unit
      // Constants, so that each is compiled by itself.
      let sum = unsafe streams == 1 ? Self.sum(first, 1) : Self.sum(first, 4)
      // The sum is looked at, so that the loads cannot be left out.
      precondition(sum == Float(Self.unit), "a sum of ones")
    }
  }

  /// Eight chains of additions, two for each of four streams or all for one.
  ///
  /// Multiply–adds, because compilers take plain sums of this form apart into pairs of lanes.
  @unsafe @inline(__always)
  private static func sum(_ base: UnsafePointer<Float>, _ streams: Int) -> Float {
    let width = Vector.width
    let length = unit / streams
    // The distance of a pair of chains from the one before, and steps.
    let (distance, step) = streams == 1 ? (2 * width, 8 * width) : (length, 2 * width)
    var (a, b, c, d) = (Vector(), Vector(), Vector(), Vector())
    var (e, f, g, h) = (Vector(), Vector(), Vector(), Vector())
    let one = Vector(repeating: 1)
    for first in stride(from: 0, to: length, by: step) {
      unsafe a.addProduct(Vector(loading: base, at: first), one)
      unsafe b.addProduct(Vector(loading: base, at: first + width), one)
      unsafe c.addProduct(Vector(loading: base, at: distance + first), one)
      unsafe d.addProduct(Vector(loading: base, at: distance + first + width), one)
      unsafe e.addProduct(Vector(loading: base, at: 2 * distance + first), one)
      unsafe f.addProduct(Vector(loading: base, at: 2 * distance + first + width), one)
      unsafe g.addProduct(Vector(loading: base, at: 3 * distance + first), one)
      unsafe h.addProduct(Vector(loading: base, at: 3 * distance + first + width), one)
    }
    return ((a + b) + (c + d) + (e + f) + (g + h)).laneSum
  }
}
