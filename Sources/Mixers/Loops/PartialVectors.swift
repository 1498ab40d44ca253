import Compute
import Glibc

extension Vector {
  /// Loads those of eight numbers at `offset` that are among the first `count`; the others are 0.
  @unsafe @inline(__always)
  init(loading pointer: UnsafePointer<Float>, at offset: Int, of count: Int) {
    if offset + 8 <= count {
      unsafe self.init(loading: pointer, at: offset)
    } else {
      self = .zero
      for lane in 0..<count - offset { unsafe self[lane] = pointer[offset + lane] }
    }
  }

  /// Stores those of eight numbers at `offset` that are among the first `count`.
  @unsafe @inline(__always)
  func store(to pointer: UnsafeMutablePointer<Float>, at offset: Int, of count: Int) {
    if offset + 8 <= count {
      unsafe store(to: pointer, at: offset)
    } else {
      for lane in 0..<count - offset { unsafe pointer[offset + lane] = self[lane] }
    }
  }

  /// The larger of each pair of lanes.
  @inline(__always)
  func larger(_ other: Vector) -> Vector { replacing(with: other, where: self .< other) }

  /// The lanes in double precision.
  ///
  /// One by one: the conversion of whole vectors is a generic function, and may become a call.
  @inline(__always)
  var doubles: SIMD8<Double> {
    SIMD8<Double>(
      Double(self[0]), Double(self[1]), Double(self[2]), Double(self[3]), Double(self[4]),
      Double(self[5]), Double(self[6]), Double(self[7]))
  }
}

/// `e^x` of numbers that are not above 0, and 0 where it is nearly so: −∞ is exact.
@inline(__always)
func vanishingExp(_ x: Vector) -> Vector {
  exp(x).replacing(with: Vector.zero, where: x .< Vector(repeating: -87))
}

/// Calls `body` with 0, 8, … up to `count`.
@inline(__always)
func forEachVector(_ count: Int, _ body: (_ offset: Int) -> Void) {
  var offset = 0
  while offset < count {
    body(offset)
    offset += 8
  }
}

/// Copies rows of numbers to others, a cache line of each before the next.
///
/// Of rows that lie apart, such as those of one head, a processor that meets a few lines side by
/// side asks for many more: reading them row by row takes three times as long.
@unsafe @inline(__always)
func copyRows(
  _ source: UnsafeMutablePointer<Float>, step: Int, to target: UnsafeMutablePointer<Float>,
  step targetStep: Int, rows: Int, columns: Int
) {
  for column in stride(from: 0, to: columns, by: 16) {
    var (from, to) = unsafe (UnsafePointer(source), target)
    for _ in 0..<rows {
      let first = unsafe Vector(loading: from, at: column, of: columns)
      if column + 8 < columns {
        unsafe Vector(loading: from, at: column + 8, of: columns)
          .store(to: to, at: column + 8, of: columns)
      }
      unsafe first.store(to: to, at: column, of: columns)
      unsafe from += step
      unsafe to += targetStep
    }
  }
}

/// `ln x`.
func naturalLogarithm(_ x: Float) -> Float { logf(x) }
