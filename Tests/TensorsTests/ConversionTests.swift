import Tensors
import Testing

/// A 16-bit format by its definition, in `Double`; shares nothing with the code under test.
private struct Format {
  let fractionBits: Int
  let bias: Int
  var exponentBits: Int { 15 - fractionBits }

  static let binary16 = Format(fractionBits: 10, bias: 15)
  static let bfloat16 = Format(fractionBits: 7, bias: 127)

  /// The bits of infinity.
  var infinity: UInt16 { UInt16((1 << exponentBits) - 1) << UInt16(fractionBits) }

  /// The number with the given bits; nil for NaN.
  func value(_ bits: UInt16) -> Double? {
    let sign: Double = bits >> 15 == 1 ? -1 : 1
    let exponent = Int(bits & 0x7FFF) >> fractionBits
    let fraction = Double(Int(bits) & ((1 << fractionBits) - 1))
    let unit = Double(sign: .plus, exponent: -fractionBits, significand: 1)
    if exponent == (1 << exponentBits) - 1 { return fraction == 0 ? sign * .infinity : nil }
    if exponent == 0 {
      return sign * fraction * unit * Double(sign: .plus, exponent: 1 - bias, significand: 1)
    }
    return sign * (1 + fraction * unit)
      * Double(sign: .plus, exponent: exponent - bias, significand: 1)
  }

  /// The magnitude bits nearest to `magnitude`, by search among all of them; ties to even bits.
  func nearest(_ magnitude: Double) -> UInt16 {
    // Rounding overflows to infinity from where the next exponent's first number would be nearer.
    var (low, high): (UInt16, UInt16) = (0, infinity)
    while high - low > 1 {
      let middle = low + (high - low) / 2
      if orderedValue(middle) <= magnitude { low = middle } else { high = middle }
    }
    let (below, above) = (magnitude - orderedValue(low), orderedValue(high) - magnitude)
    if below == above { return low % 2 == 0 ? low : high }
    return below < above ? low : high
  }

  /// The value of magnitude bits, with the number that infinity's bits would be if it were finite.
  private func orderedValue(_ bits: UInt16) -> Double {
    bits == infinity
      ? Double(sign: .plus, exponent: (1 << exponentBits) - 1 - bias, significand: 1)
      : value(bits) ?? .nan
  }
}

@Suite("Conversion of elements")
struct ConversionTests {
  private static let allBits = (0...UInt16.max).map { $0 }

  /// Widens or narrows through the public routines, at a given misalignment of the vectors' tails.
  private static func widen(_ bits: [UInt16], _ type: ElementType) -> [Float] {
    var output = AlignedBuffer<Float>(repeating: 777, count: bits.count + 2)
    var span = output.mutableSpan
    var part = span.part(1..<bits.count + 1)
    if type == .f16 {
      let source = bits.map(Float16.init(bitPattern:))
      convert(source.span, to: &part)
    } else {
      let source = bits.map(BFloat16.init(bitPattern:))
      convert(source.span, to: &part)
    }
    #expect(output[0] == 777 && output[bits.count + 1] == 777)
    return (1..<bits.count + 1).map { output[$0] }
  }

  private static func narrow(_ numbers: [Float], _ type: ElementType) -> [UInt16] {
    let count = numbers.count
    if type == .f16 {
      var output = AlignedBuffer<Float16>(repeating: 777, count: count + 2)
      var span = output.mutableSpan
      var part = span.part(1..<count + 1)
      convert(numbers.span, to: &part)
      #expect(output[0] == 777 && output[count + 1] == 777)
      return (1..<count + 1).map { output[$0].bitPattern }
    }
    var output = AlignedBuffer<BFloat16>(repeating: BFloat16(777), count: count + 2)
    var span = output.mutableSpan
    var part = span.part(1..<count + 1)
    convert(numbers.span, to: &part)
    #expect(output[0] == BFloat16(777) && output[count + 1] == BFloat16(777))
    return (1..<count + 1).map { output[$0].bitPattern }
  }

  private static func format(_ type: ElementType) -> Format {
    type == .f16 ? .binary16 : .bfloat16
  }

  @Test(
    "All 65536 patterns widen to the number that they are", arguments: [ElementType.f16, .bf16])
  func widening(type: ElementType) {
    let widened = Self.widen(Self.allBits, type)
    let wrong = Self.allBits.filter { bits in
      guard let value = Self.format(type).value(bits) else { return !widened[Int(bits)].isNaN }
      return Double(widened[Int(bits)]) != value
        || widened[Int(bits)].sign != (bits >> 15 == 1 ? .minus : .plus)
    }
    #expect(wrong == [])
  }

  @Test("All 65536 patterns survive widening and narrowing", arguments: [ElementType.f16, .bf16])
  func roundTrip(type: ElementType) {
    let infinity = Self.format(type).infinity
    let quietBit = UInt16(1) << UInt16(Self.format(type).fractionBits - 1)
    let back = Self.narrow(Self.widen(Self.allBits, type), type)
    let wrong = Self.allBits.filter { bits in
      let isNaN = bits & 0x7FFF > infinity
      return back[Int(bits)] != (isNaN ? bits | quietBit : bits)
    }
    #expect(wrong == [])
  }

  @Test(
    "Ties go to even, and their neighbours to the nearer side", arguments: [ElementType.f16, .bf16])
  func ties(type: ElementType) throws {
    let format = Self.format(type)
    var numbers: [Float] = []
    for bits in 0..<format.infinity {
      let low = try #require(format.value(bits))
      // Past the largest finite number: where infinity begins is a tie too, to the even side.
      let high =
        bits + 1 == format.infinity
        ? low + (low - (try #require(format.value(bits - 1))))
        : try #require(format.value(bits + 1))
      let tie = Float((low + high) / 2)
      #expect(Double(tie) == (low + high) / 2)
      numbers += [tie.nextDown, tie, tie.nextUp]
    }
    numbers += numbers.map { -$0 }
    Self.expectNearest(numbers, type)
  }

  @Test("Any Float narrows to the nearest number", arguments: [ElementType.f16, .bf16])
  func random(type: ElementType) {
    var generator = SplitMix(state: 16)
    let patterns = (0..<200_000).map { _ in
      Float(bitPattern: .random(in: 0 ... .max, using: &generator))
    }
    let special: [Float] = [
      0, -0.0, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .infinity, -.infinity,
      .leastNonzeroMagnitude, .leastNormalMagnitude, 65504, 65519.996, 65520, 1e-8, 2.98e-8,
    ]
    Self.expectNearest(patterns.filter { !$0.isNaN } + special, type)
  }

  private static func expectNearest(_ numbers: [Float], _ type: ElementType) {
    let narrowed = narrow(numbers, type)
    let wrong = numbers.indices.filter { index in
      let number = numbers[index]
      let magnitude =
        number.isInfinite ? format(type).infinity : format(type).nearest(Double(number.magnitude))
      return narrowed[index] != magnitude | (number.sign == .minus ? 0x8000 : 0)
    }
    #expect(wrong.map { numbers[$0] } == [])
  }

  @Test("NaN stays NaN, with its sign, in vectors and tails", arguments: [ElementType.f16, .bf16])
  func notANumber(type: ElementType) {
    let payloads: [UInt32] = [1, 0x7FFF, 0x8000, 0x1_0000, 0x3F_FFFF, 0x40_0000, 0x7F_FFFF]
    let numbers = payloads.flatMap { payload in
      [Float(bitPattern: 0x7F80_0000 | payload), Float(bitPattern: 0xFF80_0000 | payload)]
    }
    for count in 1...numbers.count {
      let narrowed = Self.narrow(Array(numbers[..<count]), type)
      for index in 0..<count {
        #expect(narrowed[index] & 0x7FFF > Self.format(type).infinity)
        #expect(narrowed[index] >> 15 == UInt16(index % 2))
      }
    }
  }

  @Test("Every length has its tail converted and nothing else", arguments: 0...35)
  func tails(count: Int) {
    let numbers = (0..<count).map { Float($0) * 0.37 - 3 }
    for type in [ElementType.f16, .bf16] {
      let bits = Self.narrow(numbers, type)
      let expected =
        type == .f16
        ? numbers.map { Float16($0).bitPattern } : numbers.map { BFloat16($0).bitPattern }
      #expect(bits == expected)
      #expect(Self.widen(bits, type).count == count)
    }
  }

  @Test(
    "F32 bytes are copied unchanged from and to any alignment", arguments: [0, 1, 7, 8, 9, 24, 31])
  func float32(count: Int) {
    let numbers = (0..<count).map { Float($0) * 1.25 - 3 }
    let bytes = [0xAA] + elementBytes(numbers, .f32) + [0xBB]
    var output = [Float](repeating: 0, count: count)
    var span = output.mutableSpan
    ElementType.f32.decode(unsafe bytes.span.bytes.extracting(1..<bytes.count - 1), into: &span)
    #expect(output == numbers)
    var target = AlignedBuffer<UInt8>(repeating: 0xCC, count: 4 * count + 2)
    var targetSpan = target.mutableSpan
    var part = targetSpan.part(1..<4 * count + 1)
    var partBytes = unsafe part.mutableBytes
    ElementType.f32.encode(numbers.span, into: &partBytes)
    #expect((1..<4 * count + 1).map { target[$0] } == Array(bytes[1..<bytes.count - 1]))
    #expect(target[0] == 0xCC && target[4 * count + 1] == 0xCC)
  }

  @Test("bfloat16 compares and prints as the number that it is")
  func bfloat16() {
    #expect(BFloat16(bitPattern: 0x8000) == BFloat16(0))
    #expect(BFloat16(bitPattern: 0x8000).hashValue == BFloat16(0).hashValue)
    #expect(BFloat16(.nan) != BFloat16(.nan))
    #expect(BFloat16(1.5).description == "1.5")
  }

  @Test("Element types are called and sized as in files")
  func names() {
    #expect(ElementType.allCases.map(\.description) == ["F32", "F16", "BF16"])
    #expect(ElementType.allCases.map(\.byteWidth) == [4, 2, 2])
  }
}
