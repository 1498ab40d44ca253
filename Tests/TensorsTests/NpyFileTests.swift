import Tensors
import TestSupport
import Testing

@Suite("npy files")
struct NpyFileTests {
  /// A file that must be refused, and words that the refusal must contain.
  struct Malformed: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let bytes: [UInt8]
    var kind = TensorFileError.Kind.malformed
    let words: [String]
  }

  static let eight = [UInt8](repeating: 0, count: 8)

  static func header(
    descr: String = "'<f4'", order: String = "False", shape: String = "(2,)"
  ) -> String {
    "{'descr': \(descr), 'fortran_order': \(order), 'shape': \(shape), }          \n"
  }

  static let malformed: [Malformed] = [
    Malformed(testDescription: "empty", bytes: [], kind: .truncated, words: ["is empty"]),
    Malformed(
      testDescription: "other magic", bytes: [0x93] + Array("NUMPI".utf8), words: ["does not begin"]
    ),
    Malformed(
      testDescription: "only magic", bytes: Array(npyBytes("").prefix(7)), kind: .truncated,
      words: ["within its header"]),
    Malformed(
      testDescription: "version 4", bytes: npyBytes(header(), data: eight, version: 4),
      kind: .unsupported, words: ["4.0", "1.0, 2.0, 3.0"]),
    Malformed(
      testDescription: "version 0", bytes: npyBytes(header(), data: eight, version: 0),
      kind: .unsupported, words: ["0.0"]),
    Malformed(
      testDescription: "header beyond the file", bytes: Array(npyBytes(header()).prefix(40)),
      kind: .truncated, words: ["only 40 bytes"]),
    Malformed(
      testDescription: "header beyond the limit",
      bytes: npyBytes(String(repeating: " ", count: 70_000), version: 2), words: ["70000"]),
    Malformed(
      testDescription: "empty header", bytes: npyBytes("  "), words: ["the end of the text"]),
    Malformed(
      testDescription: "no dictionary", bytes: npyBytes("[1, 2]"), words: ["'[' where '{'"]),
    Malformed(
      testDescription: "no key", bytes: npyBytes("{descr: '<f4'}"), words: ["no quote"]),
    Malformed(
      testDescription: "unknown key",
      bytes: npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}"),
      words: ["unknown key 'x'"]),
    Malformed(
      testDescription: "duplicate key",
      bytes: npyBytes("{'descr': '<f4', 'descr': '<f4'}"), words: ["'descr' for the second time"]),
    Malformed(
      testDescription: "no shape", bytes: npyBytes("{'descr': '<f4', 'fortran_order': False}"),
      words: ["no shape"]),
    Malformed(
      testDescription: "no order", bytes: npyBytes("{'descr': '<f4', 'shape': (2,)}"),
      words: ["no fortran_order"]),
    Malformed(
      testDescription: "no type", bytes: npyBytes("{'fortran_order': False, 'shape': (2,)}"),
      words: ["no descr"]),
    Malformed(
      testDescription: "order is a number", bytes: npyBytes(header(order: "0")),
      words: ["'0' where True or False"]),
    Malformed(
      testDescription: "shape is a number", bytes: npyBytes(header(shape: "(2)")),
      words: ["')' where ','"]),
    Malformed(
      testDescription: "shape is a list", bytes: npyBytes(header(shape: "[2]")),
      words: ["'[' where '('"]),
    Malformed(
      testDescription: "negative dimension", bytes: npyBytes(header(shape: "(-2,)")),
      words: ["negative"]),
    Malformed(
      testDescription: "fractional dimension", bytes: npyBytes(header(shape: "(2.5,)")),
      words: ["fractional"]),
    Malformed(
      testDescription: "two longs", bytes: npyBytes(header(shape: "(2LL,)")),
      words: ["'L' where ','"]),
    Malformed(
      testDescription: "dimension beyond Int",
      bytes: npyBytes(header(shape: "(99999999999999999999,)")), words: ["beyond"]),
    Malformed(
      testDescription: "elements beyond Int",
      bytes: npyBytes(header(shape: "(4294967296, 4294967296)")),
      words: ["more elements than can be counted"]),
    Malformed(
      testDescription: "bytes beyond Int", bytes: npyBytes(header(shape: "(9223372036854775807,)")),
      words: ["more elements than can be counted"]),
    Malformed(
      testDescription: "string without end", bytes: npyBytes("{'descr': '<f4"),
      words: ["without an end"]),
    Malformed(
      testDescription: "escape in a string", bytes: npyBytes("{'de\\x73cr': '<f4'}"),
      words: ["plain ASCII"]),
    Malformed(
      testDescription: "text after the dictionary", bytes: npyBytes(header() + "x", data: eight),
      words: ["'x' where the end of the header"]),
    Malformed(
      testDescription: "no comma", bytes: npyBytes("{'descr': '<f4' 'shape': (2,)}"),
      words: ["or ',' after the value of 'descr'"]),
    Malformed(
      testDescription: "structured", bytes: npyBytes(header(descr: "[('a', '<u2')]")),
      words: ["structured"]),
    Malformed(
      testDescription: "big-endian double",
      bytes: npyBytes(header(descr: "'>f8'"), data: eight + eight), kind: .unsupported,
      words: ["'>f8'", ".astype('<f4')"]),
    Malformed(
      testDescription: "byte order of a name", bytes: npyBytes(header(descr: "'>float32'")),
      kind: .unsupported, words: ["'>float32'"]),
    Malformed(
      testDescription: "objects", bytes: npyBytes(header(descr: "'|O'"), data: eight),
      kind: .unsupported, words: ["'|O'", "Python objects", ".astype('<f4')"]),
    Malformed(
      testDescription: "float8 of ml_dtypes",
      bytes: npyBytes(header(descr: "'<V1'"), data: [0, 0]),
      kind: .unsupported, words: ["'<V1'", ".astype('<f4')"]),
    Malformed(
      testDescription: "double", bytes: npyBytes(header(descr: "'<f8'"), data: eight + eight),
      kind: .unsupported, words: ["'<f8'", ".astype('<f4')"]),
    Malformed(
      testDescription: "raw bytes", bytes: npyBytes(header(descr: "'|V2'"), data: [0, 0, 0, 0]),
      kind: .unsupported, words: ["'|V2'", "ml_dtypes.bfloat16"]),
    Malformed(
      testDescription: "data cut short", bytes: npyBytes(header(), data: [1, 2, 3]),
      kind: .truncated, words: ["cut short by 5 of its 8 bytes"]),
    Malformed(
      testDescription: "data too long", bytes: npyBytes(header(), data: eight + [0]),
      words: ["but the file has", "one array"]),
  ]

  @Test("A malformed file is refused in one sentence", arguments: malformed)
  func refused(file: Malformed) throws {
    let folder = try TemporaryFolder()
    let path = try folder.file("broken.npy", file.bytes)
    let error = try #require(refusal { () throws(TensorFileError) in _ = try NpyFile.open(path) })
    #expect(error.kind == file.kind)
    for word in file.words + ["'\(path)'", "; "] {
      #expect(error.description.contains(word), "\(error)")
    }
    #expect(error.description.hasSuffix("."))
  }

  @Test("All versions and element types are read", arguments: [1, 2, 3] as [UInt8])
  func accepted(version: UInt8) throws {
    let folder = try TemporaryFolder()
    let numbers: [Float] = [1, -2.5, 0, 3, 1024, -0.125]
    for (descr, type) in [("'<f4'", ElementType.f32), ("'<f2'", .f16), ("\"<V2\"", .bf16)] {
      let path = try folder.file(
        "array.npy",
        npyBytes(
          Self.header(descr: descr, shape: "(3, 2)"), data: elementBytes(numbers, type),
          version: version))
      let file = try NpyFile.open(path)
      #expect(file.entry.name == "array.npy")
      #expect(file.entry.shape == [3, 2])
      #expect(file.entry.elementType == type)
      #expect(try allNumbers(file.source(rank: 2)) == numbers)
      // The same file, found to be of this format by its first bytes.
      let source = try TensorSource.open(path, tensor: "any", rank: 2)
      #expect(try allNumbers(source) == numbers)
    }
  }

  @Test(
    "Whatever NumPy calls a type, its elements are read in either byte order",
    arguments: [
      ("'<f4'", ElementType.f32), ("'=f4'", .f32), ("'|f4'", .f32), ("'f4'", .f32), ("'f'", .f32),
      ("'<f'", .f32), ("'float32'", .f32), ("'single'", .f32), ("u'<f4'", .f32), ("'>f4'", .f32),
      ("'>f'", .f32), ("'<f2'", .f16), ("'=f2'", .f16), ("'e'", .f16), ("'half'", .f16),
      ("'float16'", .f16), ("'>f2'", .f16), ("'>e'", .f16), ("'bfloat16'", .bf16),
    ])
  func typeNames(descr: String, type: ElementType) throws {
    let folder = try TemporaryFolder()
    let numbers = (0..<35).map { Float($0) - 17.5 }
    var data = elementBytes(numbers, type)
    if descr.contains(">") {
      let width = type.byteWidth
      data = stride(from: 0, to: data.count, by: width).flatMap { data[$0..<$0 + width].reversed() }
    }
    let path = try folder.file(
      "array.npy", npyBytes(Self.header(descr: descr, shape: "(7, 5)"), data: data))
    let source = try NpyFile.open(path).source(rank: 2)
    #expect(try allNumbers(source) == numbers)
    // Neighbours, and rows that are read together with what lies between them.
    for rows in [PositionRange(2..<6), PositionRange(start: 1, stride: 2, count: 3)] {
      var part = [Float](repeating: 0, count: rows.count * 5)
      var span = part.mutableSpan
      try source.read(RowSlice(rows, axis: 0), into: &span)
      #expect(part == rows.flatMap { numbers[5 * $0..<5 * $0 + 5] })
    }
  }

  @Test(
    "Headers of other writers and of Python 2 are understood",
    arguments: [
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 2L), }",
      "{u'descr': u'<f4', u'fortran_order': False, u'shape': (1, 2)}",
      "{'shape':(1,2),'fortran_order':False,'descr':\"<f4\"}",
      "  {\n 'shape' : ( 1 , 2 , ) ,\t'descr' : '<f4' , 'fortran_order' : False , }  \r\n\n",
    ])
  func headers(text: String) throws {
    let folder = try TemporaryFolder()
    for version in [1, 2, 3] as [UInt8] {
      let path = try folder.file(
        "array.npy", npyBytes(text, data: elementBytes([3, 4], .f32), version: version))
      let file = try NpyFile.open(path)
      #expect(file.entry.shape == [1, 2])
      #expect(try allNumbers(file.source()) == [3, 4])
    }
  }

  @Test("Shapes of every kind are understood")
  func shapes() throws {
    let folder = try TemporaryFolder()
    for (text, dimensions) in [
      ("()", []), ("(1,)", [1]), ("(1, 1)", [1, 1]), ("(1,1,)", [1, 1]),
      ("( 1 , 1 , 1 )", [1, 1, 1]),
    ] {
      let path = try folder.file(
        "shape.npy", npyBytes(Self.header(shape: text), data: [0, 0, 0, 0]))
      #expect(try NpyFile.open(path).entry.shape == Shape(dimensions))
    }
    let empty = try folder.file("empty.npy", npyBytes(Self.header(shape: "(0, 7)")))
    #expect(try allNumbers(NpyFile.open(empty).source()).isEmpty)
    let rank = refusal { () throws(TensorFileError) in
      _ = try TensorSource.open(empty, tensor: "", rank: 4)
    }
    #expect(rank?.kind == .wrongShape)
  }
}
