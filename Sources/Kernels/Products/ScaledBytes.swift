import CInstructions

/// Numbers rounded to integers of eight bits, four in a word, with a scale for each 32 of them:
/// `x ≈ scale · q` with `|q| ≤ 127` and `scale = max |x| / 127`.
///
/// Products are summed exactly in integers for 32 terms, then scaled and summed in `Float`: the
/// same bits whatever the width of a vector. The instruction takes one of its factors without a
/// sign: weights are stored as `q + 128`, and a sum begins with −128 times that of the row's
/// integers.
///
/// Error: a product `a w` is off by about `(|a| max |w| + |w| max |a|) / 254` at most, with the
/// largest of their 32.
enum ScaledBytes {
  /// Numbers that share a scale.
  private static var length: Int { WeightUnit.length }
  private static var words: Int { length / 4 }
  /// Smaller numbers are zeros: 127 over them would be too much for a `Float`.
  private static var least: Float { 1e-30 }

  /// Rounds 32 numbers.
  ///
  /// Added to 1.5 · 2²³ a number is rounded to an integer, whose bits are then the lowest ones.
  ///
  /// - Returns: their scale, NaN or infinity if one of them is no number, and sums of their
  ///   integers.
  @unsafe @inline(__always)
  private static func round(
    _ numbers: UnsafePointer<Float>, plus offset: Float, to words: UnsafeMutablePointer<UInt32>
  ) -> (scale: Float, sums: Vector) {
    let largest = unsafe gyre_largest_magnitude_of_32(numbers)
    let inverse = Vector(repeating: largest < least ? 0 : 127 / largest)
    let middle: Float = 12_582_912 + offset
    var sums = Vector()
    for first in stride(from: 0, to: length, by: Vector.width) {
      let rounded = unsafe Vector(repeating: middle)
        .addingProduct(Vector(loading: numbers, at: first), inverse)
      sums += rounded - Vector(repeating: middle)
      unsafe unsafeBitCast(rounded, to: VectorBits.self)
        .storeLowBytes(to: UnsafeMutableRawPointer(words) + first)
    }
    return (largest * (1 / 127), sums)
  }
}

extension ScaledBytes: PackedTerms {
  private static func blocks(of terms: Int) -> Int { (terms + length - 1) / length }

  /// The integers of 32 terms, what a sum begins with, and their scale.
  @inline(__always)
  static func rowWords(of terms: Int) -> Int { blocks(of: terms) * (words + 2) }
  /// The integers of 32 terms, and their scale.
  @inline(__always)
  static func panelWords(of terms: Int) -> Int { blocks(of: terms) * (words + 1) }

  @unsafe
  static func pack(
    _ numbers: UnsafePointer<Float>, count: Int, to target: UnsafeMutablePointer<UInt32>
  ) {
    for block in 0..<blocks(of: count) {
      let place = unsafe target + block * (words + 2)
      let first = block * length
      if first + length <= count {
        unsafe pack(numbers + first, to: place)
      } else {
        unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: length) { rest in
          for index in 0..<length {
            unsafe rest[index] = first + index < count ? numbers[first + index] : 0
          }
          if let rest = rest.baseAddress { unsafe pack(rest, to: place) }
        }
      }
    }
  }

  @unsafe @inline(__always)
  private static func pack(
    _ numbers: UnsafePointer<Float>, to place: UnsafeMutablePointer<UInt32>
  ) {
    let (scale, sums) = unsafe round(numbers, plus: 0, to: place)
    let sum = sums.laneSum
    unsafe place[words] = UInt32(bitPattern: sum.isNaN ? 0 : -128 * Int32(sum))
    unsafe place[words + 1] = scale.bitPattern
  }

  /// Rounds numbers in their place, each vector of them after it was read.
  @unsafe @inline(__always)
  static func pack(_ weights: WeightUnit, to target: UnsafeMutablePointer<UInt32>) {
    let place = UnsafeMutableRawPointer(target)
    unsafe place.storeBytes(of: weights.first, as: SIMD16<Float>.self)
    unsafe place.storeBytes(of: weights.second, toByteOffset: 64, as: SIMD16<Float>.self)
    let numbers = unsafe UnsafeRawPointer(place).assumingMemoryBound(to: Float.self)
    unsafe target[words] = round(numbers, plus: 128, to: target).scale.bitPattern
  }

  @unsafe @inline(__always)
  static func multiply(
    rows: UnsafePointer<UInt32>, panel: UnsafePointer<UInt32>, terms: Int,
    to target: UnsafeMutablePointer<Float>, stride: Int, adding: Bool
  ) {
    var product = RegisterTile()
    var (rows, panel) = unsafe (rows, panel)
    for _ in 0..<blocks(of: terms) {
      unsafe product.accumulate(rows: rows, panel: panel, words: words)
      unsafe rows += (words + 2) * RegisterTile.height
      unsafe panel += (words + 1) * RegisterTile.width
    }
    if adding {
      unsafe product.add(to: target, stride: stride)
    } else {
      unsafe product.store(to: target, stride: stride)
    }
  }
}

extension RegisterTile {
  /// Adds the products of 32 terms of a group of rows and a panel, scaled.
  ///
  /// - Parameters:
  ///   - rows: `[words + 2][6]`, at the end what sums begin with, and scales.
  ///   - panel: `[words + 1][W]`, at the end scales.
  @unsafe @inline(__always)
  fileprivate mutating func accumulate(
    rows: UnsafePointer<UInt32>, panel: UnsafePointer<UInt32>, words: Int
  ) {
    let start = unsafe rows + words * Self.height
    var a = unsafe Integers(start[0])
    var b = unsafe Integers(start[1])
    var c = unsafe Integers(start[2])
    var d = unsafe Integers(start[3])
    var e = unsafe Integers(start[4])
    var f = unsafe Integers(start[5])
    for word in 0..<words {
      let row = unsafe rows + word * Self.height
      let column = unsafe UnsafeRawPointer(panel + word * Self.width)
      let first = unsafe column.loadUnaligned(as: VectorBits.self)
      let second = unsafe column.loadUnaligned(
        fromByteOffset: 4 * Vector.width, as: VectorBits.self)
      unsafe a.addProducts(first, second, VectorBits(repeating: row[0]))
      unsafe b.addProducts(first, second, VectorBits(repeating: row[1]))
      unsafe c.addProducts(first, second, VectorBits(repeating: row[2]))
      unsafe d.addProducts(first, second, VectorBits(repeating: row[3]))
      unsafe e.addProducts(first, second, VectorBits(repeating: row[4]))
      unsafe f.addProducts(first, second, VectorBits(repeating: row[5]))
    }
    let column = unsafe UnsafeRawPointer(panel + words * Self.width)
    let first = unsafe column.loadUnaligned(as: Vector.self)
    let second = unsafe column.loadUnaligned(fromByteOffset: 4 * Vector.width, as: Vector.self)
    let scales = unsafe UnsafeRawPointer(start + Self.height).assumingMemoryBound(to: Float.self)
    unsafe a.add(to: &a0, &a1, first * scales[0], second * scales[0])
    unsafe b.add(to: &b0, &b1, first * scales[1], second * scales[1])
    unsafe c.add(to: &c0, &c1, first * scales[2], second * scales[2])
    unsafe d.add(to: &d0, &d1, first * scales[3], second * scales[3])
    unsafe e.add(to: &e0, &e1, first * scales[4], second * scales[4])
    unsafe f.add(to: &f0, &f1, first * scales[5], second * scales[5])
  }
}

/// The sums of one row.
private struct Integers {
  private var first: IntegerVector
  private var second: IntegerVector

  @inline(__always)
  init(_ start: UInt32) {
    first = IntegerVector(repeating: Int32(bitPattern: start))
    second = first
  }

  /// Adds the products of the bytes of each word.
  @inline(__always)
  mutating func addProducts(_ weights: VectorBits, _ others: VectorBits, _ row: VectorBits) {
    #if GYRE_AVX512
      first = gyre_add_products_of_bytes_16(first, weights, row)
      second = gyre_add_products_of_bytes_16(second, others, row)
    #else
      first = gyre_add_products_of_bytes_8(first, weights, row)
      second = gyre_add_products_of_bytes_8(second, others, row)
    #endif
  }

  @inline(__always)
  func add(to one: inout Vector, _ other: inout Vector, _ scale: Vector, _ otherScale: Vector) {
    one.addProduct(Vector(integers: first), scale)
    other.addProduct(Vector(integers: second), otherScale)
  }
}
