/// Writes the bytes of a `.gguf` file, right ones and wrong ones.
struct GGUFBuilder {
  struct Tensor {
    var name: String
    /// The innermost first, as in the file.
    var dimensions: [UInt64]
    var type: UInt32
    /// Counted from the first tensor's; the next free multiple of the alignment unless given.
    var offset: UInt64?
    var data: [UInt8]

    init(
      _ name: String, _ dimensions: [UInt64], type: UInt32, offset: UInt64? = nil, data: [UInt8]
    ) {
      (self.name, self.dimensions, self.type) = (name, dimensions, type)
      (self.offset, self.data) = (offset, data)
    }
  }

  indirect enum Value {
    case uint8(UInt8), int8(Int8), uint16(UInt16), int16(Int16), uint32(UInt32), int32(Int32)
    case float(Float), bool(UInt8), string([UInt8]), uint64(UInt64), int64(Int64), double(Double)
    /// The number of the type, and the elements.
    case array(UInt32, [Value])
    case raw(UInt32, [UInt8])
  }

  var magic = Array("GGUF".utf8)
  var version: UInt32 = 3
  var values: [(name: String, value: Value)] = []
  var tensors: [Tensor] = []
  var alignment = 32
  var tensorCount: UInt64?
  var valueCount: UInt64?

  init(values: [(name: String, value: Value)] = [], tensors: [Tensor] = []) {
    (self.values, self.tensors) = (values, tensors)
  }

  var bytes: [UInt8] {
    var bytes = magic + Self.little(version)
    bytes += Self.little(tensorCount ?? UInt64(tensors.count))
    bytes += Self.little(valueCount ?? UInt64(values.count))
    for (name, value) in values {
      bytes += Self.string(Array(name.utf8)) + Self.little(Self.type(value)) + Self.encoded(value)
    }
    var data: [UInt8] = []
    for tensor in tensors {
      data += Array(repeating: 0, count: (alignment - data.count % alignment) % alignment)
      bytes += Self.string(Array(tensor.name.utf8))
      bytes += Self.little(UInt32(tensor.dimensions.count))
      for dimension in tensor.dimensions { bytes += Self.little(dimension) }
      bytes += Self.little(tensor.type) + Self.little(tensor.offset ?? UInt64(data.count))
      data += tensor.data
    }
    bytes += Array(repeating: 0, count: (alignment - bytes.count % alignment) % alignment)
    return bytes + data
  }

  private static func little(_ number: some FixedWidthInteger) -> [UInt8] {
    (0..<number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
  }

  private static func string(_ bytes: [UInt8]) -> [UInt8] { little(UInt64(bytes.count)) + bytes }

  private static func type(_ value: Value) -> UInt32 {
    switch value {
    case .uint8: 0
    case .int8: 1
    case .uint16: 2
    case .int16: 3
    case .uint32: 4
    case .int32: 5
    case .float: 6
    case .bool: 7
    case .string: 8
    case .array: 9
    case .uint64: 10
    case .int64: 11
    case .double: 12
    case .raw(let type, _): type
    }
  }

  private static func encoded(_ value: Value) -> [UInt8] {
    switch value {
    case .uint8(let number), .bool(let number): [number]
    case .int8(let number): little(number)
    case .uint16(let number): little(number)
    case .int16(let number): little(number)
    case .uint32(let number): little(number)
    case .int32(let number): little(number)
    case .uint64(let number): little(number)
    case .int64(let number): little(number)
    case .float(let number): little(number.bitPattern)
    case .double(let number): little(number.bitPattern)
    case .string(let bytes): string(bytes)
    case .array(let type, let elements):
      little(type) + little(UInt64(elements.count)) + elements.flatMap(encoded)
    case .raw(_, let bytes): bytes
    }
  }
}
