import Tensors
import TestSupport
import Testing

@Suite("safetensors files")
struct SafetensorsFileTests {
  /// A file that must be refused, and words that the refusal must contain.
  struct Malformed: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let bytes: [UInt8]
    var kind = TensorFileError.Kind.malformed
    let words: [String]
  }

  /// A header of one tensor `a` of two F32, with parts replaced.
  static func one(
    dtype: String = "\"F32\"", shape: String = "[2]", offsets: String = "[0,8]",
    data: [UInt8] = [UInt8](repeating: 0, count: 8)
  ) -> [UInt8] {
    safetensorsBytes(
      "{\"a\":{\"dtype\":\(dtype),\"shape\":\(shape),\"data_offsets\":\(offsets)}}", data: data)
  }

  /// A header of two tensors `a` and `b` of two F16 each.
  static func two(_ a: String, _ b: String, names: (String, String) = ("a", "b")) -> [UInt8] {
    let fields = "\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":"
    return safetensorsBytes(
      "{\"\(names.0)\":{\(fields)\(a)},\"\(names.1)\":{\(fields)\(b)}}",
      data: [UInt8](repeating: 0, count: 8))
  }

  @Test("A malformed file is refused in one sentence", arguments: malformed)
  func refused(file: Malformed) throws {
    let folder = try TemporaryFolder()
    let path = try folder.file("broken.safetensors", file.bytes)
    let error = try #require(
      refusal { () throws(TensorFileError) in _ = try SafetensorsFile.open(path) })
    #expect(error.kind == file.kind)
    #expect(error.path == path)
    for word in file.words + ["'\(path)'", "; "] {
      #expect(error.description.contains(word), "\(error)")
    }
    #expect(error.description.hasSuffix("."))
    #expect(!error.description.contains("\n"))
    #expect(error.description.count < 600)
  }

  @Test("A path without a readable file is refused")
  func unreadable() throws {
    let folder = try TemporaryFolder()
    let file = try folder.file("file", [1])
    let cases = [
      (folder.path + "/missing.safetensors", "no such file"), (folder.path, "is a directory"),
      ("/dev/null", "not a regular file"), (file + "/below", "Not a directory"), ("", "no such"),
    ]
    for (path, words) in cases {
      let error = refusal { () throws(TensorFileError) in _ = try SafetensorsFile.open(path) }
      #expect(error?.kind == .unreadable)
      #expect(error?.description.contains(words) == true, "\(String(describing: error))")
      #expect(error?.description.contains("'\(path)'") == true)
    }
  }

  /// What the format's reference implementation reads, though its writers write none of it.
  static let lenient: [(String, String)] = {
    let a = "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
    return [
      ("space before the brace", "  {\(a)}"), ("lines around the braces", "\r\n\t {\(a)}\n\t\r "),
      ("metadata that is null", "{\"__metadata__\":null,\(a)}"),
      ("metadata of one name twice", "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"},\(a)}"),
      ("a tensor twice, the same", "{\(a),\(a)}"),
      (
        "unknown keys with values of every kind",
        "{\"a\":{\"x\":[1,-2.5e3,{\"y\":null,\"z\":{}},[],[[true]],\"t\"],\"strides\":[4],"
          + "\"dtype\":\"F32\",\"w\":false,\"shape\":[2],\"data_offsets\":[0,8]}}"
      ),
    ]
  }()

  @Test("What the reference implementation reads is read", arguments: lenient)
  func asTheReference(what: String, header: String) throws {
    let folder = try TemporaryFolder()
    let path = try folder.file(
      "x.safetensors", safetensorsBytes(header, data: elementBytes([3, 4], .f32)))
    let file = try SafetensorsFile.open(path)
    #expect(file.entries.map(\.name) == ["a"])
    #expect(try allNumbers(file.source("a")) == [3, 4])
  }

  @Test("A type of the future does no harm until its tensor is asked for")
  func futureTypes() throws {
    let folder = try TemporaryFolder()
    for type in ["F8_E4M3FNUZ", "F8_E5M2FNUZ", "F31", "MXFP4_BLOCK32"] {
      let header =
        "{\"new\":{\"dtype\":\"\(type)\",\"shape\":[3],\"data_offsets\":[0,3]},"
        + "\"q\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[3,7]}}"
      let path = try folder.file(
        "x.safetensors", safetensorsBytes(header, data: [1, 2, 3] + elementBytes([5], .f32)))
      let file = try SafetensorsFile.open(path)
      #expect(try allNumbers(file.source("q")) == [5])
      let error = refusal { () throws(TensorFileError) in _ = try file.source("new") }
      #expect(error?.kind == .unsupported)
      #expect(error?.description.contains("'\(type)', which is not read here") == true)
    }
  }

  @Test("Names that differ in Unicode normalization alone are two names")
  func normalization() throws {
    let folder = try TemporaryFolder()
    let fields = ["\\u00e9", "e\\u0301"].enumerated().map {
      "\"\($1)\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[\(4 * $0),\(4 * $0 + 4)]}"
    }
    let path = try folder.file(
      "x.safetensors",
      safetensorsBytes("{\(fields.joined(separator: ","))}", data: elementBytes([1, 2], .f32)))
    let file = try SafetensorsFile.open(path)
    #expect(try allNumbers(file.source("\u{E9}")) == [1])
    #expect(try allNumbers(file.source("e\u{301}")) == [2])
  }

  @Test("Every type, empty tensors, scalars, escapes and space are understood")
  func accepted() throws {
    let folder = try TemporaryFolder()
    let types: [(String, Int)] = [
      ("F64", 8), ("I64", 8), ("U64", 8), ("C64", 8), ("F32", 4), ("I32", 4), ("U32", 4),
      ("F16", 2),
      ("BF16", 2), ("I16", 2), ("U16", 2), ("I8", 1), ("U8", 1), ("BOOL", 1), ("F8_E5M2", 1),
      ("F8_E4M3", 1), ("F8_E8M0", 1), ("F8_E4M3FNUZ", 1), ("F8_E5M2FNUZ", 1),
    ]
    var fields = [
      "\"__metadata__\" : {\"format\":\"p\\\"\\\\\\/\\b\\f\\n\\r\\t\\ud83d\\ude00\\u00e9\"}"
    ]
    var end = 0
    // The entries of the header are in the opposite order to their data.
    for (type, width) in types.reversed() {
      fields.insert(
        "\"\(type)\":\t{\"shape\":[ 3 , 2 ],\r\n\"data_offsets\":[\(end), \(end + 6 * width)],"
          + "\"dtype\":\"\(type)\"}", at: 0)
      end += 6 * width
    }
    for (type, bits) in [("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6)] {
      fields.append(
        "\"\(type)\":{\"dtype\":\"\(type)\",\"shape\":[4],\"data_offsets\":[\(end),\(end + bits / 2)]}"
      )
      end += bits / 2
    }
    fields.append("\"empty\":{\"dtype\":\"F32\",\"shape\":[5,0],\"data_offsets\":[0,0]}")
    fields.append(
      "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[\(end),\(end + 4)]}")
    let header = "{\(fields.joined(separator: " ,\n"))}   "
    let path = try folder.file(
      "types.safetensors", safetensorsBytes(header, data: .init(repeating: 0, count: end + 4)))
    let file = try SafetensorsFile.open(path)
    #expect(file.entries.count == types.count + 5)
    #expect(file.metadata == ["format": "p\"\\/\u{8}\u{C}\n\r\t😀é"])
    #expect(file.entries.first?.name == "empty")
    for (type, width) in types {
      let entry = try #require(file.entries.first { $0.name == type })
      #expect(entry.typeName == type)
      #expect(entry.shape == [3, 2])
      #expect(entry.byteCount == 6 * width)
      #expect(entry.elementType == ElementType(rawValue: type))
    }
    #expect(try allNumbers(file.source("scalar")) == [0])
    #expect(try allNumbers(file.source("empty")).isEmpty)
  }

  @Test("A tensor of another type, name or rank is refused when asked for, and only then")
  func wrongTensor() throws {
    let folder = try TemporaryFolder()
    let header =
      "{\"ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
      + "\"q\":{\"dtype\":\"F32\",\"shape\":[1,2,1],\"data_offsets\":[8,16]}}"
    let path = try folder.file(
      "some.safetensors", safetensorsBytes(header, data: .init(repeating: 0, count: 16)))
    let file = try SafetensorsFile.open(path)
    #expect(try file.source("q", rank: 3).shape == [1, 2, 1])
    let type = refusal { () throws(TensorFileError) in _ = try file.source("ids") }
    #expect(type?.kind == .unsupported)
    #expect(
      type?.description
        == "'\(path)', tensor 'ids': its elements are of type 'I64', which is not read"
        + " here; save it as one of F32, F16, BF16.")
    let name = refusal { () throws(TensorFileError) in _ = try file.source("k") }
    #expect(name?.kind == .missingTensor)
    #expect(name?.tensor == "k")
    #expect(name?.description.contains("choose one of 'q'.") == true)
    let other = refusal { () throws(TensorFileError) in _ = try file.source("k", rank: 4) }
    #expect(other?.description.contains("no tensors of rank 4 in F32, F16, BF16.") == true)
    let rank = refusal { () throws(TensorFileError) in _ = try file.source("q", rank: 4) }
    #expect(rank?.kind == .wrongShape)
    #expect(
      rank?.description.contains(
        "its shape [1, 2, 1] has rank 3, but rank 4, [batch, tokens, heads, headDim] is needed")
        == true)
  }

  @Test("Names in messages are short and cannot steer a terminal")
  func hostileNames() throws {
    let folder = try TemporaryFolder()
    let long = String(repeating: "n", count: 50_000)
    let fields = (0..<50).map {
      "\"\(long)\($0)\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}"
    }
    let escape = "\"\\u001b[31m\\u202e\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}"
    let path = try folder.file(
      "names.safetensors",
      safetensorsBytes("{\((fields + [escape]).joined(separator: ","))}"))
    let file = try SafetensorsFile.open(path)
    let missing = refusal { () throws(TensorFileError) in _ = try file.source("q") }
    #expect(missing.map { $0.description.count < 3000 } == true)
    #expect(missing?.description.contains("and 31 more") == true)
    let other = refusal { () throws(TensorFileError) in
      _ = try file.source("\u{1B}[31m\u{202E}", rank: 4)
    }
    #expect(other?.kind == .wrongShape)
    #expect(other?.description.contains("\u{1B}") == false)
    #expect(other?.description.unicodeScalars.contains("\u{202E}") == false)
  }

  @Test("A large header takes time in proportion to its size")
  func largeHeader() throws {
    let folder = try TemporaryFolder()
    func seconds(tensors: Int) throws -> Double {
      let fields = (0..<tensors).map {
        "\"layers.\($0).weight\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[\(2 * $0),\(2 * $0 + 2)]}"
      }
      let path = try folder.file(
        "\(tensors).safetensors",
        safetensorsBytes(
          "{\(fields.joined(separator: ","))}", data: .init(repeating: 0, count: 2 * tensors)))
      let best = try (0..<3).map { _ in
        try ContinuousClock().measure { _ = try SafetensorsFile.open(path) }
      }.min()
      return try #require(best) / .seconds(1)
    }
    // Quadratic behaviour would be a factor of 256.
    #expect(try seconds(tensors: 64_000) < 64 * seconds(tensors: 4000))
  }
}
