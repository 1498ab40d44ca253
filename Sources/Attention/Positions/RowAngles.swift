import Compute
import Tensors

/// The sines and cosines that turn a row, as vectors take them.
struct RowAngles {
  private let pairing: RotaryPositions.Pairing
  private let pairs: Int
  /// A number for each pair, or, where pairs are neighbours, for each column.
  private var cosines: [Float]
  /// Likewise; those of first columns are negative where pairs are neighbours.
  private var sines: [Float]

  /// Room for so many pairs.
  init(_ pairing: RotaryPositions.Pairing, pairs: Int) {
    self.pairing = pairing
    self.pairs = pairs
    cosines = Array(repeating: 1, count: pairing == .half ? pairs : 2 * pairs)
    sines = Array(repeating: 0, count: cosines.count)
  }

  /// Sets the angle of a pair.
  @inline(__always)
  mutating func set(_ pair: Int, cosine: Float, sine: Float) {
    switch pairing {
    case .half: (cosines[pair], sines[pair]) = (cosine, sine)
    case .interleaved:
      (cosines[2 * pair], cosines[2 * pair + 1]) = (cosine, cosine)
      (sines[2 * pair], sines[2 * pair + 1]) = (-sine, sine)
    }
  }

  /// Turns the columns of one head: `(x, y)` becomes `(x cos − y sin, y cos + x sin)`.
  ///
  /// - Parameter columns: those that are turned, `2 · pairs`.
  func turn(_ columns: inout MutableSpan<Float>) {
    precondition(columns.count == 2 * pairs, "columns of other pairs")
    let (cosines, sines) = (cosines.span, sines.span)
    unsafe columns.withUnsafeMutableBufferPointer { columns in
      guard let columns = columns.baseAddress else { return }
      unsafe cosines.withUnsafeBufferPointer { cosines in
        unsafe sines.withUnsafeBufferPointer { sines in
          guard let cosines = cosines.baseAddress, let sines = sines.baseAddress
          else { return }
          switch pairing {
          case .half: unsafe turnHalves(columns, cosines, sines)
          case .interleaved: unsafe turnNeighbours(columns, cosines, sines)
          }
        }
      }
    }
  }

  @unsafe @inline(__always)
  private func turnHalves(
    _ columns: UnsafeMutablePointer<Float>, _ cosines: UnsafePointer<Float>,
    _ sines: UnsafePointer<Float>
  ) {
    let others = unsafe columns + pairs
    var pair = 0
    while pair + Vector.width <= pairs {
      let (x, y) = unsafe (Vector(loading: columns, at: pair), Vector(loading: others, at: pair))
      let (cosine, sine) = unsafe (
        Vector(loading: cosines, at: pair), Vector(loading: sines, at: pair)
      )
      unsafe (x * cosine - y * sine).store(to: columns, at: pair)
      unsafe (y * cosine + x * sine).store(to: others, at: pair)
      pair += Vector.width
    }
    while pair < pairs {
      let (x, y) = unsafe (columns[pair], others[pair])
      unsafe columns[pair] = x * cosines[pair] - y * sines[pair]
      unsafe others[pair] = y * cosines[pair] + x * sines[pair]
      pair += 1
    }
  }

  @unsafe @inline(__always)
  private func turnNeighbours(
    _ columns: UnsafeMutablePointer<Float>, _ cosines: UnsafePointer<Float>,
    _ sines: UnsafePointer<Float>
  ) {
    var column = 0
    while column + Vector.width <= 2 * pairs {
      let own = unsafe Vector(loading: columns, at: column)
      var other = Vector()
      (other.evenHalf, other.oddHalf) = (own.oddHalf, own.evenHalf)
      let (cosine, sine) = unsafe (
        Vector(loading: cosines, at: column), Vector(loading: sines, at: column)
      )
      unsafe (own * cosine + other * sine).store(to: columns, at: column)
      column += Vector.width
    }
    while column < 2 * pairs {
      let (x, y) = unsafe (columns[column], columns[column + 1])
      unsafe columns[column] = x * cosines[column] + y * sines[column]
      unsafe columns[column + 1] = y * cosines[column + 1] + x * sines[column + 1]
      column += 2
    }
  }
}
