import Compute
import Tensors

/// Adds `aᵀ b` of some tokens, in double precision: for sums that scores are made of, whose last
/// digits in single precision would be large.
///
/// Tiles of 6 × 8 sums stay in registers while some tokens pass, whose rows have been widened once.
///
/// - Parameters:
///   - a: `[count, rows]`.
///   - b: `[count, columns]`.
///   - total: `[rows, columns]`.
/// - Complexity: twice the time of as many products in single precision.
@unsafe
func addDoubleProducts(
  _ a: StridedMatrix, _ b: StridedMatrix, _ count: Int, rows: Int, columns: Int,
  to total: UnsafeMutablePointer<Double>, _ poll: Poll
) {
  let tokens = 64
  let left = DoubleRows(columns: rows, tokens: tokens)
  let right = DoubleRows(columns: columns, tokens: tokens)
  for start in stride(from: 0, to: count, by: tokens) {
    let depth = min(tokens, count - start)
    left.take(a.part(row: start), depth)
    right.take(b.part(row: start), depth)
    for row in stride(from: 0, to: rows, by: 6) {
      for column in stride(from: 0, to: columns, by: 8) {
        unsafe addTile(
          left.base + row, left.step, right.base + column, right.step, depth,
          to: total + row * columns + column, columns, rows: min(6, rows - row),
          columns: min(8, columns - column))
      }
    }
    poll()
  }
}

/// Rows of some tokens in double precision; past the last column is room for a tile, of anything.
@safe
private struct DoubleRows: ~Copyable {
  private let memory: AlignedBuffer<Double>
  private let columns: Int
  /// From a row to the next: so many that rows do not meet in a few places of the first cache.
  let step: Int

  init(columns: Int, tokens: Int) {
    self.columns = columns
    step = paddedToVectors(columns) + 8
    memory = AlignedBuffer(zeros: step * tokens)
  }

  @unsafe
  var base: UnsafeMutablePointer<Double> { unsafe memory.unsafeBaseAddress }

  func take(_ rows: StridedMatrix, _ count: Int) {
    for token in 0..<count {
      let (source, target) = unsafe (rows.base + token * rows.row, base + token * step)
      forEachVector(columns) { column in
        let numbers = unsafe Vector(loading: source, at: column, of: columns).doubles
        unsafe UnsafeMutableRawPointer(target + column)
          .storeBytes(of: numbers, as: SIMD8<Double>.self)
      }
    }
  }
}

private typealias Four = SIMD4<Double>

/// Adds a tile of sums over `depth` tokens.
@unsafe @inline(__always)
private func addTile(
  _ a: UnsafeMutablePointer<Double>, _ stepA: Int, _ b: UnsafeMutablePointer<Double>,
  _ stepB: Int, _ depth: Int, to total: UnsafeMutablePointer<Double>, _ step: Int, rows: Int,
  columns: Int
) {
  var (s00, s01, s10, s11) = (Four.zero, Four.zero, Four.zero, Four.zero)
  var (s20, s21, s30, s31) = (Four.zero, Four.zero, Four.zero, Four.zero)
  var (s40, s41, s50, s51) = (Four.zero, Four.zero, Four.zero, Four.zero)
  var (a, b) = unsafe (a, UnsafeRawPointer(b))
  for _ in 0..<depth {
    let b0 = unsafe b.loadUnaligned(as: Four.self)
    let b1 = unsafe b.loadUnaligned(fromByteOffset: 32, as: Four.self)
    unsafe add(a[0], b0, b1, &s00, &s01)
    unsafe add(a[1], b0, b1, &s10, &s11)
    unsafe add(a[2], b0, b1, &s20, &s21)
    unsafe add(a[3], b0, b1, &s30, &s31)
    unsafe add(a[4], b0, b1, &s40, &s41)
    unsafe add(a[5], b0, b1, &s50, &s51)
    unsafe a += stepA
    unsafe b += 8 * stepB
  }
  unsafe put(s00, s01, to: total, columns)
  if rows > 1 { unsafe put(s10, s11, to: total + step, columns) }
  if rows > 2 { unsafe put(s20, s21, to: total + 2 * step, columns) }
  if rows > 3 { unsafe put(s30, s31, to: total + 3 * step, columns) }
  if rows > 4 { unsafe put(s40, s41, to: total + 4 * step, columns) }
  if rows > 5 { unsafe put(s50, s51, to: total + 5 * step, columns) }
}

@inline(__always)
private func add(_ a: Double, _ b0: Four, _ b1: Four, _ s0: inout Four, _ s1: inout Four) {
  let factor = Four(repeating: a)
  s0 = s0.addingProduct(factor, b0)
  s1 = s1.addingProduct(factor, b1)
}

@unsafe @inline(__always)
private func put(_ s0: Four, _ s1: Four, to target: UnsafeMutablePointer<Double>, _ columns: Int) {
  if columns == 8 {
    let place = UnsafeMutableRawPointer(target)
    let (old0, old1) = unsafe (
      place.loadUnaligned(as: Four.self), place.loadUnaligned(fromByteOffset: 32, as: Four.self)
    )
    unsafe place.storeBytes(of: old0 + s0, as: Four.self)
    unsafe place.storeBytes(of: old1 + s1, toByteOffset: 32, as: Four.self)
    return
  }
  for column in 0..<columns { unsafe target[column] += column < 4 ? s0[column] : s1[column - 4] }
}
