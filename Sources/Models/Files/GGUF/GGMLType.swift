import Compute

/// The types of tensors that ggml has, of which `WeightType` are the ones read here.
///
/// The others are known so that the places of all tensors of a file can be checked.
struct GGMLType: Hashable {
  let name: String
  let blockLength: Int
  let blockBytes: Int
  /// The format that it is read as; nil if it is not read here.
  let weightType: WeightType?

  /// The type with a number; nil if ggml had none when this was written.
  init?(_ number: UInt32) {
    if let type = WeightType(ggml: number) {
      self.init(type.rawValue, type.blockLength, type.blockBytes, type)
    } else if let other = Self.others[number] {
      self = other
    } else {
      return nil
    }
  }

  private init(
    _ name: String, _ blockLength: Int, _ blockBytes: Int, _ weightType: WeightType? = nil
  ) {
    self.name = name
    self.blockLength = blockLength
    self.blockBytes = blockBytes
    self.weightType = weightType
  }

  private static let others: [UInt32: GGMLType] = [
    9: GGMLType("Q8_1", 32, 36), 15: GGMLType("Q8_K", 256, 292),
    16: GGMLType("IQ2_XXS", 256, 66), 17: GGMLType("IQ2_XS", 256, 74),
    18: GGMLType("IQ3_XXS", 256, 98), 19: GGMLType("IQ1_S", 256, 50),
    20: GGMLType("IQ4_NL", 32, 18), 21: GGMLType("IQ3_S", 256, 110),
    22: GGMLType("IQ2_S", 256, 82), 23: GGMLType("IQ4_XS", 256, 136),
    24: GGMLType("I8", 1, 1), 25: GGMLType("I16", 1, 2), 26: GGMLType("I32", 1, 4),
    27: GGMLType("I64", 1, 8), 28: GGMLType("F64", 1, 8), 29: GGMLType("IQ1_M", 256, 56),
    34: GGMLType("TQ1_0", 256, 54), 35: GGMLType("TQ2_0", 256, 66),
  ]

  /// The size of a tensor in bytes, or nil if it is not an `Int`.
  ///
  /// - Precondition: `elementCount` is whole blocks.
  func byteCount(_ elementCount: Int) -> Int? {
    let blocks = elementCount / blockLength
    let (bytes, overflow) = blocks.multipliedReportingOverflow(by: blockBytes)
    return overflow ? nil : bytes
  }
}
