/// Reproducible standard-normal numbers: element i of a tensor is a pure function of seed, tensor,
/// i.
///
/// Any process can therefore generate any slice of a tensor that exists nowhere as a whole, and
/// gets the same bits as every other: only additions, multiplications and divisions of IEEE 754 are
/// used, in a fixed order, and no library's logarithm, square root or sine.
///
/// Distribution: mean 0, variance 1, by Box and Muller's transformation of two 32-bit uniform words
/// u, v: √(−2 ln((u + ½) / 2³²)) · (cos, sin)(2πv / 2³²), to within 2e-6; the largest magnitude
/// is 6.76. The words come from Philox4x32-10 (Salmon et al. 2011) with the seed as key and, as
/// counter, the tensor's number in the upper and a group of elements in the lower 64 bits.
///
/// Element 32·g + 8·w + lane is output w of counter 8·g + lane: outputs 0 and 1 are the cosine and
/// sine of the counter's first two words, 2 and 3 those of the other two.
public struct RandomNormal: Hashable, Sendable {
  /// The seed of the whole experiment.
  public let seed: UInt64

  /// The number of the tensor among those with the same seed, for example 0, 1, 2 for q, k, v.
  public let tensor: UInt64

  /// Creates the generator of one tensor.
  public init(seed: UInt64, tensor: UInt64) {
    self.seed = seed
    self.tensor = tensor
  }

  /// Elements are generated in groups of this many.
  private static let groupLength = 32

  /// Writes elements `start`, `start + 1`, … of the tensor, in row-major order.
  ///
  /// - Parameters:
  ///   - numbers: Where the elements go.
  ///   - start: The row-major place of the first one; any, even where a group does not begin.
  /// - Precondition: `start ≥ 0`.
  /// - Complexity: O(`numbers.count`), about 2 ns for each on one core with AVX2.
  public func fill(_ numbers: inout MutableSpan<Float>, from start: Int) {
    precondition(start >= 0, "A tensor has no element \(start)")
    var index = 0
    while index < numbers.count {
      let (group, skipped) = (start + index).quotientAndRemainder(dividingBy: Self.groupLength)
      let values = elements(ofGroup: UInt64(group))
      let length = min(Self.groupLength - skipped, numbers.count - index)
      if length == Self.groupLength {
        var part = numbers.part(index..<index + length)
        var bytes = unsafe part.mutableBytes
        bytes.storeBytes(of: values.0, toByteOffset: 0, as: SIMD8<Float>.self)
        bytes.storeBytes(of: values.1, toByteOffset: 32, as: SIMD8<Float>.self)
        bytes.storeBytes(of: values.2, toByteOffset: 64, as: SIMD8<Float>.self)
        bytes.storeBytes(of: values.3, toByteOffset: 96, as: SIMD8<Float>.self)
      } else {
        for offset in 0..<length {
          let place = skipped + offset
          let output = [values.0, values.1, values.2, values.3][place / 8]
          numbers[index + offset] = output[place % 8]
        }
      }
      index += length
    }
  }

  /// The 32 elements of group number `group`.
  @inline(__always)
  private func elements(
    ofGroup group: UInt64
  ) -> (SIMD8<Float>, SIMD8<Float>, SIMD8<Float>, SIMD8<Float>) {
    // A group's eight counters differ in their lowest three bits only: no carry to the next word.
    let lanes = SIMD8<UInt32>(0, 1, 2, 3, 4, 5, 6, 7)
    let first = group &* 8
    let words = Philox.block(
      counters: (
        lanes &+ UInt32(truncatingIfNeeded: first),
        SIMD8(repeating: UInt32(truncatingIfNeeded: first >> 32)),
        SIMD8(repeating: UInt32(truncatingIfNeeded: tensor)),
        SIMD8(repeating: UInt32(truncatingIfNeeded: tensor >> 32))
      ),
      key: (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)))
    let (a, b) = BoxMuller.normals(words.0, words.1)
    let (c, d) = BoxMuller.normals(words.2, words.3)
    return (a, b, c, d)
  }
}
