import Models
import Tensors
import Testing

/// GGUF files, right ones and wrong ones.
@Suite struct GGUFTests {
  private static let floats = [UInt8](repeating: 0, count: 64)

  /// A file with a value of every type and three tensors.
  private var whole: GGUFBuilder {
    GGUFBuilder(
      values: [
        ("general.architecture", .string(Array("llama".utf8))), ("u8", .uint8(200)),
        ("i8", .int8(-3)), ("u16", .uint16(60_000)), ("i16", .int16(-30_000)),
        ("u32", .uint32(4_000_000_000)), ("i32", .int32(-2_000_000_000)), ("f32", .float(0.25)),
        ("bool", .bool(1)), ("u64", .uint64(.max)), ("i64", .int64(.min)), ("f64", .double(1e300)),
        ("texts", .array(8, [.string([0xC3, 0xA9]), .string([]), .string([0xFF])])),
        ("numbers", .array(6, [.float(1), .float(-2)])),
        ("whole", .array(5, [.int32(7), .int32(-7)])), ("truths", .array(7, [.bool(0), .bool(1)])),
        ("nested", .array(9, [.array(0, [.uint8(5)]), .array(0, [])])),
      ],
      tensors: [
        .init("a", [4, 2], type: 0, data: Array(Self.floats.prefix(32))),
        .init("b", [3], type: 1, data: [0, 0x3C, 0, 0x40, 0, 0x44]),
        .init("c", [32, 2, 1], type: 8, data: Array(repeating: 1, count: 68)),
      ])
  }

  private func open(_ builder: GGUFBuilder) throws -> GGUFFile {
    try open(builder.bytes)
  }

  private func open(_ bytes: [UInt8]) throws -> GGUFFile {
    try GGUFFile(SharedBytes(AlignedBuffer(copying: bytes.span)), path: "model.gguf")
  }

  @Test("values of every type and tensors are read from versions 2 and 3", arguments: [2, 3])
  func reading(version: UInt32) throws {
    var builder = whole
    builder.version = version
    let file = try open(builder)
    #expect(file.version == Int(version))
    let expected: [String: GGUFValue] = [
      "general.architecture": .string("llama"), "u8": .integer(200), "i8": .integer(-3),
      "u16": .integer(60_000), "i16": .integer(-30_000), "u32": .integer(4_000_000_000),
      "i32": .integer(-2_000_000_000), "f32": .number(0.25), "bool": .bool(true),
      "u64": .unsigned(.max), "i64": .integer(.min), "f64": .number(1e300),
      "numbers": .numbers([1, -2]), "whole": .integers([7, -7]), "truths": .bools([false, true]),
      "nested": .arrays([.integers([5]), .integers([])]),
    ]
    for (key, value) in expected { #expect(file.metadata[key] == value, "\(key)") }
    guard case .strings(let texts)? = file.metadata["texts"] else {
      Issue.record("no texts")
      return
    }
    #expect((0..<texts.count).map { Array(texts[$0]) } == [[0xC3, 0xA9], [], [0xFF]])

    #expect(file.tensors.map(\.name) == ["a", "b", "c"])
    #expect(file.tensors.map(\.shape) == [[2, 4], [3], [1, 2, 32]])
    let numbers = try file.tensor("b").decoded()
    #expect([numbers[0], numbers[1], numbers[2]] == [1, 2, 4])
    #expect(try file.tensor("c").rows == 2)
  }

  /// Changes of a right file, and part of the sentence that refuses the result.
  private static let wrong: [(sentence: String, change: @Sendable (inout GGUFBuilder) -> Void)] = [
    ("version 1, and only 2 and 3", { $0.version = 1 }),
    ("version 9, and only 2 and 3", { $0.version = 9 }),
    ("big-endian", { $0.version = 3 << 24 }),
    ("18446744073709551615 tensors are more than", { $0.tensorCount = .max }),
    ("4611686018427387904 values are more than", { $0.valueCount = 1 << 62 }),
    ("the name of a tensor is empty", { $0.tensorCount = 4 }),
    ("'odd' is of type 13", { $0.values.append(("odd", .raw(13, [0]))) }),
    ("'odd' is 2 instead of 0 or 1", { $0.values.append(("odd", .bool(2))) }),
    (
      "elements of 'odd' are more than",
      { $0.values.append(("odd", .raw(9, [8, 0, 0, 0] + Array(repeating: 255, count: 8)))) }
    ),
    (
      "'odd' would be 18446744073709551615 bytes long",
      { $0.values.append(("odd", .raw(8, Array(repeating: 255, count: 8)))) }
    ),
    (
      "an element of 'odd' is beyond",
      { $0.values.append(("odd", .array(10, [.uint64(.max)]))) }
    ),
    (
      "nested deeper than 4 levels",
      {
        $0.values.append(("odd", (0..<6).reduce(.array(0, [])) { inner, _ in .array(9, [inner]) }))
      }
    ),
    ("'u8' is there for the second time", { $0.values.append(("u8", .uint8(1))) }),
    ("the name of a value is empty", { $0.values.append(("", .uint8(1))) }),
    ("general.alignment is 24 instead", { $0.values.append(("general.alignment", .uint32(24))) }),
    ("general.alignment is a text", { $0.values.append(("general.alignment", .string([65]))) }),
    ("one of 3 parts", { $0.values.append(("split.count", .uint16(3))) }),
    ("tensor 'a' is there for the second time", { $0.tensors[2].name = "a" }),
    ("'a' has 5 dimensions", { $0.tensors[0].dimensions = [1, 1, 1, 1, 1] }),
    ("'a' has more elements than", { $0.tensors[0].dimensions = [1 << 40, 1 << 40] }),
    ("'a' has more elements than", { $0.tensors[0].dimensions = [.max, 2] }),
    ("'a' is larger than memory can be", { $0.tensors[0].dimensions = [1 << 62] }),
    ("'a' is of type 4, which is not known", { $0.tensors[0].type = 4 }),
    ("'c' has rows of 31", { $0.tensors[2].dimensions = [31, 2] }),
    ("tensors 'a' and 'b' overlap", { $0.tensors[1].offset = 0 }),
    ("'b' begins at 33, which is no multiple", { $0.tensors[1].offset = 33 }),
    ("'b' begins at 18446744073709551584", { $0.tensors[1].offset = .max - 31 }),
    (
      "'b' ends beyond what a file can have",
      { $0.tensors[1].offset = UInt64(Int.max) - 31 }
    ),
    ("'b' ends at byte", { $0.tensors[1].offset = 1 << 40 }),
    ("'c' ends at byte", { $0.tensors[2].data.removeLast() }),
  ]

  @Test("what is wrong with a file is said in a sentence", arguments: wrong.indices)
  func refusing(_ index: Int) throws {
    let (sentence, change) = Self.wrong[index]
    var builder = whole
    change(&builder)
    let error = try #require(throws: TensorFileError.self) { try open(builder) }
    #expect("\(error)".contains(sentence), "\(error)")
  }

  @Test("a file of a format that is not read here is opened, its tensor refused by name")
  func otherFormats() throws {
    var builder = whole
    builder.tensors[2].dimensions = [256, 1]
    builder.tensors[2].type = 16
    let file = try open(builder)
    #expect(file.entry("c")?.typeName == "IQ2_XXS")
    let error = try #require(throws: TensorFileError.self) { try file.tensor("c") }
    #expect("\(error)".contains("IQ2_XXS, which is not read here"))
    let missing = try #require(throws: TensorFileError.self) { try file.tensor("d") }
    #expect(missing.kind == .missingTensor)
    let json = try TestFile(Array("{\"a\": 1}".utf8))
    let other = try #require(throws: TensorFileError.self) { try GGUFFile(json.path) }
    #expect("\(other)".contains("no .gguf file but a JSON text"))
  }

  @Test("a file that was cut short anywhere is refused")
  func truncation() throws {
    let bytes = whole.bytes
    for count in 0..<bytes.count {
      #expect(throws: TensorFileError.self, "\(count) bytes") {
        try open(Array(bytes.prefix(count)))
      }
    }
  }

  @Test("headers with bytes changed at random are read or refused, and what is read is there")
  func fuzzing() throws {
    let bytes = whole.bytes
    var random = SplitMix(state: 16)
    var refused = 0
    for _ in 0..<3000 {
      var changed = bytes
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let place = Int.random(in: 4..<changed.count, using: &random)
        let byte = [0, 1, 0x7F, 0x80, 0xFF, UInt8.random(in: 0...255, using: &random)]
          .randomElement(using: &random)
        changed[place] = byte ?? 0
      }
      guard let file = try? open(changed) else {
        refused += 1
        continue
      }
      for entry in file.tensors where entry.type != nil {
        let tensor = try file.tensor(entry.name)
        #expect(tensor.decoded().count == tensor.shape.elementCount)
      }
    }
    #expect(refused > 300 && refused < 2900, "\(refused) of 3000 refused")
  }
}

/// Random numbers that are the same in every run (Steele, Lea, Flood 2014).
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var bits = state
    bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
    return bits ^ (bits >> 31)
  }
}
