import Tensors
import TestSupport
import Testing

@Suite("Tensors of whole numbers")
struct IntegerSourceTests {
  private let numbers = [1, 0, 1, 1, 0, 0]

  private func safetensors(_ type: String, _ data: [UInt8], _ folder: TemporaryFolder) throws
    -> String
  {
    let header =
      "{\"ids\":{\"dtype\":\"\(type)\",\"shape\":[2,3],\"data_offsets\":[0,\(data.count)]}}"
    return try folder.file("\(type).safetensors", safetensorsBytes(header, data: data))
  }

  @Test("all types of safetensors files, whole and in part, with their extremes")
  func safetensorsTypes() throws {
    let folder = try TemporaryFolder()
    let small = [Int(Int32.min), -1, 0, 1, 70000, Int(Int32.max)]
    let large = [Int.min, -1, 0, 1, 1 << 53 + 1, Int.max]
    let bytes = [0, 1, 2, 127, 128, 255]
    let cases: [(String, [UInt8], [Int])] = [
      ("I64", large.flatMap { littleEndian(Int64($0)) }, large),
      ("I32", small.flatMap { littleEndian(Int32($0)) }, small),
      ("U8", bytes.map(UInt8.init), bytes), ("BOOL", numbers.map(UInt8.init), numbers),
    ]
    for (type, data, expected) in cases {
      let source = try IntegerSource.open(safetensors(type, data, folder))
      #expect(source.shape == [2, 3])
      #expect(source.type.rawValue == type)
      #expect(try source.readAll() == expected)
      #expect(try source.read(2..<5) == Array(expected[2..<5]))
      #expect(try source.read(3..<3) == [])
    }
  }

  @Test("NumPy's names of the types, in both byte orders")
  func npyTypes() throws {
    let folder = try TemporaryFolder()
    let values = [-2, 0, 3, 1, 2, 9]
    let little = values.flatMap { littleEndian(Int32($0)) }
    let big = values.flatMap { littleEndian(Int32($0).byteSwapped) }
    let wide = values.flatMap { littleEndian(Int64($0)) }
    let cases: [(String, [UInt8], [Int])] = [
      ("<i4", little, values), (">i4", big, values), ("int32", little, values),
      ("<i8", wide, values), ("|u1", numbers.map(UInt8.init), numbers),
      ("|b1", numbers.map(UInt8.init), numbers),
    ]
    for (index, (type, data, expected)) in cases.enumerated() {
      let text = "{'descr': '\(type)', 'fortran_order': False, 'shape': (2, 3), }"
      let path = try folder.file("\(index).npy", npyBytes(text, data: data))
      #expect(try IntegerSource.open(path).readAll() == expected)
    }
  }

  @Test("what holds no whole numbers, or not one tensor, is refused")
  func refused() throws {
    let folder = try TemporaryFolder()
    func words(_ path: String, _ name: String? = nil) -> String {
      let refused = refusal { () throws(TensorFileError) in
        _ = try IntegerSource.open(path, tensor: name).readAll()
      }
      return refused.map { "\($0)" } ?? "read"
    }
    let floats = try safetensors("F32", .init(repeating: 0, count: 24), folder)
    #expect(words(floats).contains("whole numbers are needed; save it as one of BOOL, U8, I32"))
    #expect(words(floats, "other").contains("as this one has no tensors of BOOL, U8, I32, I64"))
    let untrue = try safetensors("BOOL", [1, 0, 0, 1, 2, 0], folder)
    #expect(words(untrue).contains("index [1, 1] is 2, and truth is 0 or 1"))
    let fortran = try folder.file(
      "fortran.npy",
      npyBytes(
        "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }",
        data: numbers.map(UInt8.init)))
    #expect(words(fortran).contains("numpy.ascontiguousarray"))
    let two =
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
      + "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}"
    let path = try folder.file("two.safetensors", safetensorsBytes(two, data: [1, 2]))
    #expect(words(path).contains("it has 2 tensors, and one is needed"))
    #expect(try IntegerSource.open(path, tensor: "b").readAll() == [2])
  }
}
