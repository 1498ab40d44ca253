/// Rows of sums that are the same bits in whatever order their terms are added.
///
/// A term is a row of floats `f` times a power of two, `x = f · 2^e`. The numbers are divided into
/// *bins* of 40 binary orders: a term belongs to the lowest bin `b` with `|x| ≤ 2^(40 b)` in every
/// column. A row's state is the highest bin of its terms and, for each column, two integers: `high`
/// counts units of 2^(40 b − 38), `low` units of 2^(40 b − 78).
///
/// Adding `x` to a state of bin `b` adds `h = round(x / 2^(40 b − 38))` to `high` and
/// `round((x − h · 2^(40 b − 38)) / 2^(40 b − 78))` to `low`. Before that, a state of a lower bin
/// is raised: by one bin, `low` becomes `high` and `high` becomes 0; by more, both become 0.
///
/// *Order does not matter.* Let `b` be the highest bin of all terms. A term of bin `b` comes when
/// the state is at `b` and adds what was said. A term of bin `b − 1` has `|x| ≤ 2^(40 b − 40)`, a
/// quarter of the unit of `high`. Added at `b` it changes `low` alone, by
/// `round(x / 2^(40 b − 78))`; added at `b − 1` it changes `high` by that same number, which is
/// `low` after the rise. Any other term has `|x| ≤ 2^(40 b − 80)`, a quarter of the unit of `low`:
/// added at `b` it changes nothing; added at `b − 1` it changes `low` alone, and added lower
/// nothing that outlives the rise. So `high` and `low` are sums of integers that depend on one term
/// each, and sums of integers do not depend on order. The same holds for ``add(row:of:to:)``.
///
/// *Nothing overflows.* `|h| ≤ 2^38` and the change of `low` is at most 2^39: 2^23 terms leave a
/// factor of two. A term is a leaf, so that is 6·10⁹ tokens times query heads of a group.
///
/// *Little is lost.* A term is rounded by at most 2^(40 b − 79), where the largest number of the
/// largest term is above 2^(40 b − 41): 2^−38 of it, and 2^−78 at best.
///
/// NaN, infinity, and exponents beyond ±2^50 bring the row to a bin above all others, whose value
/// is NaN.
///
/// Source: Demmel and Nguyen 2013, Fast reproducible floating-point summation, with integers for
/// their floating-point bins.
@safe
package struct ReproducibleRows: @unchecked Sendable {
  /// For each row `high` of every column, then `low`.
  private let cells: UnsafeMutablePointer<Int64>
  /// For each row its bin plus 2^50; 0 if it has no term.
  private let bins: UnsafeMutablePointer<Int>
  private let columns: Int

  private static var binOffset: Int { 1 << 50 }
  private static var poison: Int { .max }

  /// The words of rows: the integers, then the bins.
  package static func wordCount(rows: Int, columns: Int) -> Int { rows * (2 * columns + 1) }

  /// Rows in memory that outlives this value; zeros are rows without terms.
  @unsafe
  package init(_ memory: UnsafeMutableRawPointer, rows: Int, columns: Int) {
    unsafe cells = memory.assumingMemoryBound(to: Int64.self)
    unsafe bins = (memory + rows * 2 * columns * MemoryLayout<Int64>.stride)
      .assumingMemoryBound(to: Int.self)
    self.columns = columns
  }

  // MARK: Adding

  /// Adds `values · 2^exponent` to a row.
  ///
  /// - Parameters:
  ///   - values: the columns in panels of `panelWidth`, `panelStride` floats apart.
  ///   - panelWidth: a multiple of 8.
  ///   - exponent: a whole number.
  @unsafe
  package func add(
    _ values: UnsafePointer<Float>, panelWidth: Int, panelStride: Int, exponent: Float,
    to row: Int
  ) {
    let largest = unsafe largestMagnitude(
      values, panelWidth: panelWidth, panelStride: panelStride)
    if largest == 0 { return }
    guard largest < Float.infinity.bitPattern, abs(exponent) <= 0x1p50 else {
      unsafe bins[row] = Self.poison
      return
    }
    let exponent = Int(exponent)
    // The biased exponent of the largest magnitude is `largest >> 23`.
    let top = exponent + Int(largest >> 23) - 126
    let needed = (top + 40 * Self.binOffset + 39) / 40
    let bin = unsafe max(needed, bins[row])
    unsafe raise(row, to: bin)
    // Too small to count. A poisoned row is far above all.
    if bin - needed >= 2 { return }
    let scale = powerOfTwo(exponent - 40 * (bin - Self.binOffset) + 38)
    let high = unsafe cells + row * 2 * columns
    let low = unsafe high + columns
    var column = 0
    while column + 8 <= columns {
      let place = column / panelWidth * panelStride + column % panelWidth
      let units =
        unsafe SIMD8<Double>(
          UnsafeRawPointer(values + place).loadUnaligned(as: SIMD8<Float>.self)) * scale
      let rounder = SIMD8<Double>(repeating: roundToInteger)
      let rounded = units + rounder
      let rest = rounder.addingProduct(units - (rounded - rounder), SIMD8(repeating: 0x1p40))
      unsafe increase(high + column, by: integers(rounded))
      unsafe increase(low + column, by: integers(rest))
      column += 8
    }
    while column < columns {
      let place = column / panelWidth * panelStride + column % panelWidth
      let units = unsafe Double(values[place]) * scale
      let rounded = units + roundToInteger
      let rest = (units - (rounded - roundToInteger)) * 0x1p40 + roundToInteger
      unsafe high[column] &+= Int64(bitPattern: rounded.bitPattern &- roundToInteger.bitPattern)
      unsafe low[column] &+= Int64(bitPattern: rest.bitPattern &- roundToInteger.bitPattern)
      column += 1
    }
  }

  /// Adds a row of other sums to a row.
  @unsafe
  package func add(row other: Int, of rows: ReproducibleRows, to row: Int) {
    let bin = unsafe max(bins[row], rows.bins[other])
    unsafe raise(row, to: bin)
    let distance = unsafe bin - rows.bins[other]
    if distance >= 2 { return }
    let source = unsafe UnsafePointer(rows.cells) + other * 2 * columns
    let target = unsafe cells + row * 2 * columns + distance * columns
    for cell in 0..<(2 - distance) * columns { unsafe target[cell] &+= source[cell] }
  }

  /// Brings a row to a bin that is not lower.
  @unsafe @inline(__always)
  private func raise(_ row: Int, to bin: Int) {
    let distance = unsafe bin - bins[row]
    if distance == 0 { return }
    let high = unsafe cells + row * 2 * columns
    if distance == 1 { unsafe (high + columns).update(from: high, count: columns) }
    unsafe high.update(repeating: 0, count: distance == 1 ? columns : 2 * columns)
    unsafe bins[row] = bin
  }

  /// The bits of the largest magnitude: integers are ordered like the floats, and NaN above all.
  @unsafe @inline(__always)
  private func largestMagnitude(
    _ values: UnsafePointer<Float>, panelWidth: Int, panelStride: Int
  ) -> UInt32 {
    let magnitudeBits = SIMD8<Int32>(repeating: .max)
    var largest = SIMD8<Int32>()
    var column = 0
    while column + 8 <= columns {
      let place = column / panelWidth * panelStride + column % panelWidth
      let bits =
        unsafe UnsafeRawPointer(values + place).loadUnaligned(as: SIMD8<Int32>.self)
        & magnitudeBits
      largest = largest.replacing(with: bits, where: bits .> largest)
      column += 8
    }
    var result = UInt32(largest.max())
    while column < columns {
      let place = column / panelWidth * panelStride + column % panelWidth
      result = unsafe max(result, values[place].magnitude.bitPattern)
      column += 1
    }
    return result
  }

  // MARK: Reading

  /// The binary order of a row's units: a value is ``units(row:column:)`` times 2 to this.
  ///
  /// nil if the row has no term.
  package func order(row: Int) -> Int? {
    let bin = unsafe bins[row]
    return bin == 0 ? nil : 40 * (min(bin, 2 * Self.binOffset) - Self.binOffset) - 78
  }

  /// The sum in units, NaN if a term was not finite.
  package func units(row: Int, column: Int) -> Double {
    let high = unsafe cells + row * 2 * columns
    if unsafe bins[row] == Self.poison { return .nan }
    return unsafe Double(high[column]) * 0x1p40 + Double(high[columns + column])
  }

  /// Writes a row, multiplied by `factor`; zeros if it has no term.
  ///
  /// - Parameter order: the factor is multiplied by 2 to this.
  @unsafe
  package func write(
    row: Int, times factor: Double, order: Int = 0, to target: UnsafeMutablePointer<Float>
  ) {
    let scale = factor * powerOfTwo(max(-1022, min(1023, (self.order(row: row) ?? 0) + order)))
    for column in 0..<columns {
      unsafe target[column] = Float(units(row: row, column: column) * scale)
    }
  }
}

/// 1.5 · 2^52: added to a number below 2^51, it leaves the nearest integer in the low bits.
private let roundToInteger = 0x1.8p52

@inline(__always)
private func integers(_ rounded: SIMD8<Double>) -> SIMD8<Int64> {
  unsafe unsafeBitCast(rounded, to: SIMD8<Int64>.self)
    &- SIMD8(repeating: Int64(bitPattern: roundToInteger.bitPattern))
}

@unsafe @inline(__always)
private func increase(_ cells: UnsafeMutablePointer<Int64>, by integers: SIMD8<Int64>) {
  let memory = UnsafeMutableRawPointer(cells)
  let sums = unsafe memory.loadUnaligned(as: SIMD8<Int64>.self) &+ integers
  unsafe memory.storeBytes(of: sums, as: SIMD8<Int64>.self)
}

/// 2^order.
@inline(__always)
private func powerOfTwo(_ order: Int) -> Double {
  Double(bitPattern: UInt64(order + 1023) << 52)
}
