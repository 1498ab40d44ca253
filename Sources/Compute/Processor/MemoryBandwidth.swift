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

  /// Reads the buffer once.
  ///
  /// - Returns: bytes a second of all threads together.
  public func bytesPerSecond(team: ThreadTeam) -> Double {
    let pass = unsafe StreamingRead(
      base: UnsafePointer(buffer.unsafeBaseAddress), count: buffer.count)
    let duration = ContinuousClock().measure { team.run(pass, poll: { _ in }) }
    return Double(Self.bytes) / (duration / .seconds(1))
  }
}

/// Adds up numbers that lie one after the other.
@safe
private struct StreamingRead: ThreadedPass, @unchecked Sendable {
  /// Floats of a unit: 4 MiB.
  private static let unit = 1 << 20

  let base: UnsafePointer<Float>
  let count: Int

  var unitCount: Int { count / Self.unit }

  @unsafe
  init(base: UnsafePointer<Float>, count: Int) {
    unsafe self.base = base
    self.count = count
  }

  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    while let unit = units.next() {
      let sum = unsafe Self.sum(base + unit * Self.unit)
      // The sum is looked at, so that the loads cannot be left out.
      precondition(sum == Float(Self.unit), "a sum of ones")
    }
  }

  /// Eight chains of additions along one stream: along several, a core reads a fifth less.
  @unsafe @inline(never)
  private static func sum(_ base: UnsafePointer<Float>) -> Float {
    let width = Vector.width
    var (a, b, c, d) = (Vector(), Vector(), Vector(), Vector())
    var (e, f, g, h) = (Vector(), Vector(), Vector(), Vector())
    for first in stride(from: 0, to: unit, by: 8 * width) {
      unsafe a += Vector(loading: base, at: first)
      unsafe b += Vector(loading: base, at: first + width)
      unsafe c += Vector(loading: base, at: first + 2 * width)
      unsafe d += Vector(loading: base, at: first + 3 * width)
      unsafe e += Vector(loading: base, at: first + 4 * width)
      unsafe f += Vector(loading: base, at: first + 5 * width)
      unsafe g += Vector(loading: base, at: first + 6 * width)
      unsafe h += Vector(loading: base, at: first + 7 * width)
    }
    return ((a + b) + (c + d) + (e + f) + (g + h)).laneSum
  }
}
