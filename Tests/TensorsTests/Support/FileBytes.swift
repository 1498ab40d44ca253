import Tensors

/// The bytes of a `.safetensors` file with the given header text, whatever it says.
func safetensorsBytes(_ header: String, data: [UInt8] = []) -> [UInt8] {
  littleEndian(UInt64(header.utf8.count)) + Array(header.utf8) + data
}

/// The bytes of a `.npy` file with the given header text, whatever it says.
func npyBytes(_ header: String, data: [UInt8] = [], version: UInt8 = 1) -> [UInt8] {
  let length = UInt32(header.utf8.count)
  let lengthBytes = version == 1 ? littleEndian(UInt16(length)) : littleEndian(length)
  return [0x93] + Array("NUMPY".utf8) + [version, 0] + lengthBytes + Array(header.utf8) + data
}

/// The bytes of an integer, lowest first.
func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

/// The bytes of numbers as elements of a type, one number at a time.
func elementBytes(_ numbers: [Float], _ type: ElementType) -> [UInt8] {
  numbers.flatMap { number in
    switch type {
    case .f32: littleEndian(number.bitPattern)
    case .f16: littleEndian(Float16(number).bitPattern)
    case .bf16: littleEndian(BFloat16(number).bitPattern)
    }
  }
}

/// The numbers of a span as an array.
func array(_ span: Span<Float>) -> [Float] {
  span.indices.map { span[$0] }
}

/// All elements of a tensor in a file.
func allNumbers(_ source: TensorSource) throws -> [Float] {
  let tensor = try source.readAll()
  return array(tensor.span)
}

/// What a call throws, as the typed error that it must be, or nil if it returns.
func refusal(_ body: () throws(TensorFileError) -> Void) -> TensorFileError? {
  do {
    try body()
    return nil
  } catch {
    return error
  }
}
