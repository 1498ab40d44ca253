import Tensors
import TestSupport

/// A tensor for a test file.
struct TestTensor {
  let name: String
  let elementType: ElementType
  let shape: Shape
  var values: [Float]

  /// Repeatable uniform numbers in (−2, 2).
  init(_ name: String, _ shape: Shape, _ elementType: ElementType = .f32, seed: UInt64 = 1) {
    self.name = name
    self.elementType = elementType
    self.shape = shape
    var state = (seed &+ UInt64(name.utf8.first ?? 0)) &* 0x9E37_79B9_7F4A_7C15 | 1
    values = (0..<shape.elementCount).map { _ in
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      let value = Float(Int32(truncatingIfNeeded: state >> 20)) / 1_073_741_824
      switch elementType {
      case .f32: return value
      case .f16: return Float(Float16(value))
      case .bf16: return Float(BFloat16(value))
      }
    }
  }

  /// The bytes of a `.npy` file, F32 or F16.
  var npy: [UInt8] {
    let data = values.flatMap { value in
      let (bits, width) =
        elementType == .f32
        ? (value.bitPattern, 4) : (UInt32(Float16(value).bitPattern), 2)
      return (0..<width).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
    }
    return Self.npy(elementType == .f32 ? "<f4" : "<f2", shape.dimensions, data)
  }

  /// The bytes of a `.npy` file of a type by its name there.
  static func npy(_ type: String, _ dimensions: [Int], _ data: [UInt8]) -> [UInt8] {
    let shape = dimensions.map { "\($0), " }.joined()
    var header = "{'descr': '\(type)', 'fortran_order': False, 'shape': (\(shape)), }"
    header += String(repeating: " ", count: (64 - (10 + header.utf8.count + 1) % 64) % 64) + "\n"
    let length = [UInt8(header.utf8.count & 0xFF), UInt8(header.utf8.count >> 8)]
    return [0x93] + Array("NUMPY".utf8) + [1, 0] + length + Array(header.utf8) + data
  }
}

extension TemporaryFolder {
  /// Writes a `.safetensors` file and returns its path.
  func safetensors(_ tensors: [TestTensor], name: String = "input.safetensors") throws -> String {
    let layout = try SafetensorsLayout(
      path: path + "/" + name,
      tensors: tensors.map { TensorDescription($0.name, $0.elementType, $0.shape) })
    try SafetensorsFile.write(layout) { writer throws(TensorFileError) in
      for tensor in tensors { try writer.write(all: tensor.name, from: tensor.values.span) }
    }
    return path + "/" + name
  }
}

/// A tensor of a file as an array.
func read(_ path: String, _ name: String) throws -> (shape: Shape, values: [Float]) {
  let tensor = try SafetensorsFile.open(path).source(name).readAll(nonFinite: .allowed)
  return (tensor.shape, (0..<tensor.count).map { tensor.span[$0] })
}

/// The largest difference, relative to `1 + max|expected|`; infinite where one is NaN, or infinite
/// and the other is not.
func relativeError(_ actual: [Float], _ expected: [Float]) -> Float {
  guard actual.count == expected.count else { return .infinity }
  var largest: Float = 0
  for (a, e) in zip(actual, expected) where a != e {
    guard a.isFinite, e.isFinite else { return .infinity }
    largest = max(largest, abs(a - e))
  }
  return largest / (1 + (expected.filter(\.isFinite).map { abs($0) }.max() ?? 0))
}
