import Tensors

/// Adds a term to sums and to what rounding has taken from them so far.
///
/// The sums are off by their own rounding then, however many terms there are; added plainly, each
/// term adds an error of its own. Terms are best sums already: this costs four times a plain
/// addition.
///
/// Source: Kahan 1965; Higham 2002, Accuracy and Stability of Numerical Algorithms, section 4.3.
@inline(__always)
func adding(
  _ term: Vector, to sum: Vector, remainder: Vector
) -> (sum: Vector, remainder: Vector) {
  let corrected = term + remainder
  let newSum = sum + corrected
  return (newSum, corrected - (newSum - sum))
}

/// The same of single numbers.
@inline(__always)
func adding(_ term: Float, to sum: Float, remainder: Float) -> (sum: Float, remainder: Float) {
  let corrected = term + remainder
  let newSum = sum + corrected
  return (newSum, corrected - (newSum - sum))
}

/// Sums in memory, beside them what rounding has taken from each.
///
/// A few terms may also be added plainly to the remainders, which costs less, before these are
/// settled.
@unsafe
struct CompensatedSums {
  let sums: UnsafeMutablePointer<Float>
  let remainders: UnsafeMutablePointer<Float>

  /// Those from one on.
  func from(_ index: Int) -> CompensatedSums {
    unsafe CompensatedSums(sums: sums + index, remainders: remainders + index)
  }

  /// Takes what has been added to the remainders into `count` sums.
  @inline(__always)
  func settle(count: Int) {
    var index = 0
    while index + Vector.width <= count {
      let (sum, remainder) = unsafe adding(
        Vector(), to: Vector(loading: sums, at: index),
        remainder: Vector(loading: remainders, at: index))
      unsafe sum.store(to: sums, at: index)
      unsafe remainder.store(to: remainders, at: index)
      index += Vector.width
    }
    while index < count {
      unsafe (sums[index], remainders[index]) = adding(
        0, to: sums[index], remainder: remainders[index])
      index += 1
    }
  }

  /// Multiplies `count` sums and adds multiples of terms to them.
  ///
  /// - Parameters:
  ///   - kept: what the sums are multiplied by, 0 or a power of two: nothing is rounded.
  ///   - added: what the terms are multiplied by, a power of two.
  @inline(__always)
  func add(_ terms: UnsafePointer<Float>, times added: Float, keeping kept: Float, count: Int) {
    var index = 0
    while index + Vector.width <= count {
      let (sum, remainder) = unsafe adding(
        Vector(loading: terms, at: index) * added,
        to: Vector(loading: sums, at: index) * kept,
        remainder: Vector(loading: remainders, at: index) * kept)
      unsafe sum.store(to: sums, at: index)
      unsafe remainder.store(to: remainders, at: index)
      index += Vector.width
    }
    while index < count {
      unsafe (sums[index], remainders[index]) = adding(
        terms[index] * added, to: sums[index] * kept, remainder: remainders[index] * kept)
      index += 1
    }
  }
}

/// Sums with memory of their own.
struct CompensatedBuffer: ~Copyable {
  private let count: Int
  /// The sums, then what rounding has taken from them.
  private let storage: AlignedBuffer<Float>

  init(count: Int) {
    self.count = count
    storage = AlignedBuffer(zeros: 2 * count)
  }

  func clear() { unsafe storage.unsafeBaseAddress.update(repeating: 0, count: storage.count) }

  /// Adds as many terms as there are sums.
  func add(_ terms: borrowing AlignedBuffer<Float>) {
    precondition(terms.count == count, "other sums")
    unsafe CompensatedSums(sums: sums, remainders: sums + count)
      .add(terms.unsafeBaseAddress, times: 1, keeping: 1, count: count)
  }

  @unsafe var sums: UnsafeMutablePointer<Float> { unsafe storage.unsafeBaseAddress }
}
