public import Tensors

/// The form in which keys and values are packed, held and sent; arithmetic is in `Float` always.
public enum WireType: String, Hashable, Sendable, CaseIterable {
  /// As they are.
  case f32
  /// IEEE 754 binary16: largest finite value 65504.
  case f16
  /// The upper half of a `Float`.
  case bf16
  /// Integers from −127 to 127 times a scale for each token and KV head, one for its key and one
  /// for its value. Scales are rounded so that their products are exact.
  case int8

  /// The form that loses nothing of what a file holds.
  public init(_ elementType: ElementType) {
    switch elementType {
    case .f32: self = .f32
    case .f16: self = .f16
    case .bf16: self = .bf16
    }
  }

  /// The size of an element in bytes.
  public var byteWidth: Int {
    switch self {
    case .f32: 4
    case .f16, .bf16: 2
    case .int8: 1
    }
  }

  /// The bytes of the key and the value of one token and KV head, their scales included.
  public func bytesPerToken(headDim: Int, valueHeadDim: Int) -> Int {
    let scales = self == .int8 ? 2 * MemoryLayout<Float>.stride : 0
    return (headDim + valueHeadDim) * byteWidth + scales
  }
}

extension WireType: CustomStringConvertible {
  /// The name on the command line.
  public var description: String { rawValue }
}
