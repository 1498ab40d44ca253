/// The element types of the safetensors format, of which `ElementType` are the ones read here.
///
/// The others are known so that the offsets of every tensor can be checked; types that the format
/// gets later may be in a file too, and are then not checked.
enum SafetensorsType: String, CaseIterable {
  case bool = "BOOL"
  case f4 = "F4"
  case f6e2m3 = "F6_E2M3"
  case f6e3m2 = "F6_E3M2"
  case u8 = "U8"
  case i8 = "I8"
  case f8e5m2 = "F8_E5M2"
  case f8e4m3 = "F8_E4M3"
  case f8e8m0 = "F8_E8M0"
  case f8e4m3fnuz = "F8_E4M3FNUZ"
  case f8e5m2fnuz = "F8_E5M2FNUZ"
  case u16 = "U16"
  case i16 = "I16"
  case f16 = "F16"
  case bf16 = "BF16"
  case u32 = "U32"
  case i32 = "I32"
  case f32 = "F32"
  case u64 = "U64"
  case i64 = "I64"
  case f64 = "F64"
  case c64 = "C64"

  /// The size of an element in bits; the elements of a tensor together are whole bytes.
  var bitWidth: Int {
    switch self {
    case .f4: 4
    case .f6e2m3, .f6e3m2: 6
    case .bool, .u8, .i8, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz: 8
    case .u16, .i16, .f16, .bf16: 16
    case .u32, .i32, .f32: 32
    case .u64, .i64, .f64, .c64: 64
    }
  }

  /// The type that elements are read as, or nil if they are not read here.
  var elementType: ElementType? { ElementType(rawValue: rawValue) }

  /// The size in bytes of that many elements, or nil if it is not a whole number or not an `Int`.
  func byteCount(_ elementCount: Int) -> Int? {
    let bits = elementCount.multipliedFullWidth(by: bitWidth)
    // A size in bytes that fits has at most the three lowest bits of the upper half.
    guard bits.high >> 3 == 0, bits.low & 7 == 0 else { return nil }
    return Int(exactly: bits.low >> 3 | UInt(bits.high) << (UInt.bitWidth - 3))
  }
}
