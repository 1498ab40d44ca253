import Tensors

/// The header of a `.gguf` file, parsed and checked against the size of the file.
///
/// The format: `GGUF`, a version, counts of tensors and of values; the values, each a name, a type
/// and what the type says; the tensors, each a name, dimensions, a type and a place; then the data
/// at the next multiple of the alignment. All numbers are little-endian.
struct GGUFHeader {
  let version: Int
  let metadata: [String: GGUFValue]
  /// In the order of the file.
  let tensors: [GGUFTensor]

  static let magic = Array("GGUF".utf8)

  /// Parses the bytes of a file.
  init(_ bytes: RawSpan) throws(GGUFProblem) {
    var cursor = GGUFCursor(bytes)
    version = try Self.readVersion(&cursor)
    // A tensor is described in at least a length, a rank, a type and a place; a value in a length,
    // a type and a byte.
    let tensorCount = try cursor.count(24, "tensors")
    let valueCount = try cursor.count(13, "values")
    metadata = try Self.readValues(valueCount, &cursor)
    let alignment = try Self.alignment(metadata, at: cursor.offset)

    var relative: [GGUFTensor] = []
    var names: Set<[UInt8]> = []
    for _ in 0..<tensorCount {
      let start = cursor.offset
      let tensor = try GGUFTensor.read(&cursor, alignment: alignment)
      guard names.insert(Array(tensor.name.utf8)).inserted else {
        throw cursor.problem(
          "tensor \(quoted(tensor.name)) is there for the second time", at: start)
      }
      relative.append(tensor)
    }
    let dataStart = (cursor.offset + alignment - 1) / alignment * alignment
    tensors = try Self.placed(relative, dataStart: dataStart, fileSize: bytes.byteCount)
  }

  private static func readVersion(_ cursor: inout GGUFCursor) throws(GGUFProblem) -> Int {
    for byte in magic {
      guard try cursor.number(UInt8.self, "its first four bytes") == byte else {
        throw cursor.problem("its first four bytes are not GGUF", at: 0)
      }
    }
    let version = try cursor.number(UInt32.self, "its version")
    switch version {
    case 2, 3: return Int(version)
    case _ where version & 0xFFFF == 0 && version != 0:
      throw cursor.problem(
        "its numbers are big-endian, and only little-endian ones are read", at: 4)
    default:
      throw cursor.problem("it is of version \(version), and only 2 and 3 are read", at: 4)
    }
  }

  private static func readValues(
    _ count: Int, _ cursor: inout GGUFCursor
  ) throws(GGUFProblem) -> [String: GGUFValue] {
    var metadata: [String: GGUFValue] = [:]
    for _ in 0..<count {
      let start = cursor.offset
      let key = try cursor.name("the name of a value")
      let type = try cursor.valueType(quoted(key))
      guard metadata.updateValue(try cursor.value(type, quoted(key)), forKey: key) == nil else {
        throw cursor.problem("the value \(quoted(key)) is there for the second time", at: start)
      }
    }
    return metadata
  }

  /// What the places of tensors are multiples of.
  private static func alignment(
    _ metadata: [String: GGUFValue], at offset: Int
  ) throws(GGUFProblem) -> Int {
    guard let value = metadata["general.alignment"] else { return 32 }
    guard case .integer(let alignment) = value, alignment >= 8, alignment <= 1 << 20,
      alignment & (alignment - 1) == 0
    else {
      throw GGUFProblem(
        problem: "its general.alignment is \(value.kind) instead of a power of two from 8 to"
          + " \(1 << 20)", offset: offset)
    }
    return alignment
  }

  /// The tensors with their places in the file, which must be there and not overlap.
  private static func placed(
    _ relative: [GGUFTensor], dataStart: Int, fileSize: Int
  ) throws(GGUFProblem) -> [GGUFTensor] {
    var tensors: [GGUFTensor] = []
    for tensor in relative {
      guard let moved = tensor.moved(by: dataStart) else {
        throw GGUFProblem(
          problem: "tensor \(quoted(tensor.name)) ends beyond what a file can have",
          offset: dataStart)
      }
      guard moved.byteOffset + moved.byteCount <= fileSize else {
        throw GGUFProblem(
          problem: "tensor \(quoted(moved.name)) ends at byte"
            + " \(moved.byteOffset + moved.byteCount), but the file has \(fileSize)",
          offset: dataStart, isTruncation: true)
      }
      tensors.append(moved)
    }
    var covered: (end: Int, name: String) = (dataStart, "")
    let nonempty = tensors.filter { $0.byteCount > 0 }
    for tensor in nonempty.sorted(by: { $0.byteOffset < $1.byteOffset }) {
      guard tensor.byteOffset >= covered.end else {
        throw GGUFProblem(
          problem: "tensors \(quoted(covered.name)) and \(quoted(tensor.name)) overlap",
          offset: tensor.byteOffset)
      }
      covered = (tensor.byteOffset + tensor.byteCount, tensor.name)
    }
    return tensors
  }
}
