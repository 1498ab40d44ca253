import AttentionTypes
import CInstructions
import Tensors

/// Two bf16 numbers whose products are summed in `Float`: what `vdpbf16ps` multiplies.
///
/// `sum ← sum + a₁ b₁`, then `sum ← sum + a₀ b₀`, each a fused multiply–add that rounds to nearest
/// even, takes denormal numbers for zero and leaves none. Where the processor has the instruction
/// it does that; elsewhere two multiply–adds do, which gives the same bits.
///
/// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VDPBF16PS and
/// VCVTNE2PS2BF16.
struct BFloat16Pair {
  /// The first number in the lower half.
  var bits: UInt32
}

extension BFloat16Pair: Factor {
  typealias Number = BFloat16
  typealias Lanes = VectorBits

  @inline(__always) static var depth: Int { 2 }
  @inline(__always) static var scalesScores: Bool { true }
  @inline(__always) static var zero: BFloat16Pair { BFloat16Pair(bits: 0) }

  @inline(__always)
  static func lanes(repeating factor: BFloat16Pair) -> VectorBits {
    VectorBits(repeating: factor.bits)
  }

  #if GYRE_BF16
    @inline(__always)
    static func addProducts(of a: VectorBits, _ b: VectorBits, to sum: inout Vector) {
      sum = gyre_add_products_of_pairs(sum, a, b)
    }
  #else
    @inline(__always)
    static func addProducts(of a: VectorBits, _ b: VectorBits, to sum: inout Vector) {
      sum.addProduct(seconds(a), seconds(b))
      sum.addProduct(firsts(a), firsts(b))
    }

    @inline(__always)
    private static func firsts(_ pairs: VectorBits) -> Vector {
      unsafe unsafeBitCast(pairs &<< VectorBits(repeating: 16), to: Vector.self)
    }

    @inline(__always)
    private static func seconds(_ pairs: VectorBits) -> Vector {
      unsafe unsafeBitCast(pairs & VectorBits(repeating: 0xFFFF_0000), to: Vector.self)
    }

    static func beginProducts() -> UInt32 { gyre_begin_flushing_denormals() }
    static func endProducts(_ before: UInt32) { gyre_end_flushing_denormals(before) }
  #endif

  @inline(__always) static var roundsWeights: Bool { true }

  /// Multiplies them by ones.
  @unsafe @inline(__always)
  static func sum(of weights: UnsafePointer<BFloat16Pair>, in keys: Range<Int>) -> Float {
    let ones = VectorBits(repeating: 0x3F80_3F80)
    var (even, odd) = (Vector(), Vector())
    let before = beginProducts()
    for key in stride(from: keys.lowerBound, to: keys.upperBound, by: 2 * Vector.width) {
      let lanes = unsafe load(weights, at: key / 2)
      // Keys 32 apart are added up together, whatever the width of a vector: the same bits.
      if Vector.width == 16 || key % 32 == 0 {
        addProducts(of: lanes, ones, to: &even)
      } else {
        addProducts(of: lanes, ones, to: &odd)
      }
    }
    endProducts(before)
    return (even + odd).laneSum
  }

  // MARK: Packed numbers

  @unsafe @inline(__always)
  static func factor<Element: PackedElement>(
    of source: UnsafePointer<Element>, stride: Int, count: Int, scale: (_ index: Int) -> Float
  ) -> BFloat16Pair {
    let first = unsafe BFloat16(source[0].widened * scale(0)).bitPattern
    if count == 1 { return BFloat16Pair(bits: UInt32(first)) }
    let second = unsafe BFloat16(source[stride].widened * scale(1)).bitPattern
    return BFloat16Pair(bits: UInt32(first) | UInt32(second) << 16)
  }

  @unsafe @inline(__always)
  static func lanes<Element: PackedElement>(
    of source: UnsafePointer<Element>, stride: Int, count: Int, scales: (_ index: Int) -> Vector
  ) -> VectorBits {
    #if GYRE_BF16
      if Element.self == BFloat16.self, stride == Vector.width, count == 2 {
        return unsafe gyre_pairs_of_rows(
          UnsafeRawPointer(source).loadUnaligned(as: VectorBits.self))
      }
    #endif
    let first = unsafe Element.rounded(source, by: scales(0))
    if count == 1 { return first }
    let second = unsafe Element.rounded(source + stride, by: scales(1))
    return first | second &<< VectorBits(repeating: 16)
  }

  @unsafe @inline(__always)
  static func lanes(
    of source: UnsafePointer<Float>, stride: Int, count: Int, _ scale: Vector
  ) -> VectorBits {
    if count <= 0 { return VectorBits() }
    let first = unsafe Vector(loading: source, at: 0) * scale
    return lanes(
      first, count > 1 ? unsafe Vector(loading: source + stride, at: 0) * scale : Vector())
  }

  // MARK: Rounding

  @inline(__always)
  static func lanes(_ number: (_ index: Int) -> Vector) -> VectorBits {
    lanes(number(0), number(1))
  }

  /// Pairs of the numbers of two vectors in the same lane.
  @inline(__always)
  static func lanes(_ first: Vector, _ second: Vector) -> VectorBits {
    #if GYRE_BF16
      gyre_pairs_of_lanes(first, second)
    #else
      rounded(first) | rounded(second) &<< VectorBits(repeating: 16)
    #endif
  }

  /// Pairs of neighbouring numbers.
  @inline(__always)
  static func neighbours(_ first: Vector, _ second: Vector) -> VectorBits {
    #if GYRE_BF16
      return gyre_pairs_of_neighbours(first, second)
    #else
      let (low, high) = (rounded(first), rounded(second))
      return VectorBits(
        lowHalf: low.evenHalf | low.oddHalf &<< 16, highHalf: high.evenHalf | high.oddHalf &<< 16)
    #endif
  }

  @unsafe @inline(__always)
  static func store(
    _ weights: (Vector, Vector), to place: UnsafeMutablePointer<BFloat16Pair>
  ) {
    unsafe store(neighbours(weights.0, weights.1), to: place, at: 0)
  }

  /// The bits of the nearest bf16 number, ties to even, denormal numbers taken for zero.
  @inline(__always)
  static func rounded(_ numbers: Vector) -> VectorBits {
    let bits = unsafe unsafeBitCast(numbers, to: VectorBits.self)
    let upper = bits &>> VectorBits(repeating: 16)
    let magnitude = bits & VectorBits(repeating: 0x7FFF_FFFF)
    // Half a unit in the last place, less one bit if the kept part is even.
    let half = VectorBits(repeating: 0x7FFF) &+ (upper & VectorBits(repeating: 1))
    return ((bits &+ half) &>> VectorBits(repeating: 16))
      .replacing(
        with: upper & VectorBits(repeating: 0x8000),
        where: magnitude .< VectorBits(repeating: 0x0080_0000)
      )
      // A NaN must not be rounded: it could carry into the sign. Bit 6 makes it quiet.
      .replacing(
        with: upper | VectorBits(repeating: 0x40),
        where: magnitude .> VectorBits(repeating: 0x7F80_0000))
  }
}

extension PackedElement {
  /// Loads one vector as the bits of the nearest bf16 numbers.
  @unsafe @inline(__always)
  static func rounded(_ pointer: UnsafePointer<Self>, by scales: Vector) -> VectorBits {
    // Those that are bf16 numbers already need no arithmetic.
    Self.self == BFloat16.self
      ? unsafe VectorBits(shorts: pointer)
      : unsafe BFloat16Pair.rounded(load(pointer, by: scales))
  }
}
