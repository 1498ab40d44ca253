/// The header of a `.npy` file, parsed and checked against the size of the file.
///
/// The format: the 6 bytes `\x93NUMPY`, one byte each for the major and the minor version, the
/// length of the text in 2 bytes (version 1.0) or 4 (2.0, 3.0), little-endian; the text, a Python
/// literal `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }` padded with spaces; the
/// elements.
struct NpyHeader {
  let entry: TensorEntry

  static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  /// The longest text that is read; one of a tensor of rank 64 takes 1.5 KiB.
  private static let maximumLength = 1 << 16

  /// Makes an error of what is wrong and what to do.
  private typealias Refusal = (TensorFileError.Kind, String, String) -> TensorFileError

  /// Where the text of a header lies: what comes before it is checked.
  private static func text(
    of file: ReadableFile, _ refusal: Refusal
  ) throws(TensorFileError) -> Range<Int> {
    let again = "copy or save it again"
    let withNumPy = "save it with numpy.save"
    guard try NpyFile.hasMagic(file) else {
      throw file.byteCount == 0
        ? refusal(.truncated, "it is empty", again)
        : try FileFormat.refusal(of: file, insteadOf: .npy)
          ?? refusal(.malformed, "it does not begin as a .npy file does", withNumPy)
    }
    guard file.byteCount >= 12 else {
      throw refusal(.truncated, "it ends within its header", again)
    }
    let version = try file.read(at: 6, count: 2)
    guard (1...3).contains(version[0]), version[1] == 0 else {
      throw refusal(
        .unsupported, "its format version \(version[0]).\(version[1]) is none of 1.0, 2.0, 3.0",
        withNumPy)
    }
    let lengthWidth = version[0] == 1 ? 2 : 4
    let length = try file.read(at: 8, count: lengthWidth).reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length <= maximumLength else {
      throw refusal(
        .malformed, "its header would be \(length) bytes long, beyond \(maximumLength)", withNumPy)
    }
    let textStart = 8 + lengthWidth
    let dataStart = textStart + length
    guard dataStart <= file.byteCount else {
      throw refusal(
        .truncated,
        "its header ends at byte \(dataStart), but the file has only \(file.byteCount) bytes",
        again)
    }
    return textStart..<dataStart
  }

  init(_ file: ReadableFile) throws(TensorFileError) {
    func refusal(
      _ kind: TensorFileError.Kind, _ problem: String, _ remedy: String = "save it with numpy.save"
    ) -> TensorFileError {
      TensorFileError(kind, path: file.path, problem, remedy: remedy)
    }
    let place = try Self.text(of: file) { refusal($0, $1, $2) }
    let (textStart, dataStart) = (place.lowerBound, place.upperBound)
    let bytes = try file.read(at: textStart, count: place.count)
    let fields: NpyFields
    do throws(HeaderTextError) {
      var text = HeaderText(bytes)
      fields = try text.readNpyFields()
    } catch {
      throw refusal(
        .malformed,
        "its header has \(error.problem), at byte \(textStart + error.offset) of the file")
    }
    let type = try NpyType(of: fields.typeName, refusal)
    guard let shape = Shape(validating: fields.dimensions),
      let byteCount = shape.byteCount(elementWidth: type.byteWidth)
    else { throw refusal(.malformed, "its shape has more elements than can be counted") }
    let present = file.byteCount - dataStart
    guard byteCount <= present else {
      throw refusal(
        .truncated,
        "it was cut short by \(byteCount - present) of its \(byteCount) bytes of data",
        "copy or save it again")
    }
    guard byteCount == present else {
      throw refusal(
        .malformed,
        "its data end at byte \(dataStart + byteCount), but the file has \(file.byteCount)",
        "save one array to a file")
    }
    entry = TensorEntry(
      name: file.path.split(separator: "/").last.map(String.init) ?? file.path,
      typeName: fields.typeName, elementType: type.elementType, shape: shape,
      byteOffset: dataStart, byteCount: byteCount, isColumnMajor: fields.isFortranOrder,
      isBigEndian: type.isBigEndian)
  }
}

/// The three things that the text of a `.npy` header says.
struct NpyFields {
  let typeName: String
  let isFortranOrder: Bool
  let dimensions: [Int]
}

extension HeaderText {
  /// Reads the whole text: a Python dictionary of exactly `descr`, `fortran_order` and `shape`.
  mutating func readNpyFields() throws(HeaderTextError) -> NpyFields {
    var typeName: String?
    var isFortranOrder: Bool?
    var dimensions: [Int]?
    skipSpace()
    try expect("{", "at the start")
    skipSpace()
    while !take("}") {
      let keyOffset = offset
      let key = try readPythonString("of a key")
      skipSpace()
      try expect(":", "after a key")
      skipSpace()
      switch key {
      case "descr" where typeName == nil:
        guard next != UInt8(ascii: "[") else {
          throw error("a structured type, of elements with several fields")
        }
        typeName = try readPythonString("of a type")
      case "fortran_order" where isFortranOrder == nil: isFortranOrder = try readPythonBool()
      case "shape" where dimensions == nil: dimensions = try readPythonTuple()
      case "descr", "fortran_order", "shape":
        throw error("the key \(quoted(key)) for the second time", at: keyOffset)
      default: throw error("the unknown key \(quoted(key))", at: keyOffset)
      }
      skipSpace()
      guard take(",") else {
        try expect("}", "or ',' after the value of \(quoted(key))")
        break
      }
      skipSpace()
    }
    skipSpace()
    guard next == nil else { throw unexpected("the end of the header") }
    guard let typeName, let isFortranOrder, let dimensions else {
      let missing =
        typeName == nil ? "descr" : isFortranOrder == nil ? "fortran_order" : "shape"
      throw error("no \(missing)", at: 0)
    }
    return NpyFields(typeName: typeName, isFortranOrder: isFortranOrder, dimensions: dimensions)
  }

  /// Reads printable ASCII without escapes in single or double quotes, perhaps with the `u` of
  /// Python 2.
  private mutating func readPythonString(_ purpose: String) throws(HeaderTextError) -> String {
    let start = offset
    _ = take("u")
    guard let quote = take(), quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else {
      throw error("no quote where a string \(purpose) belongs", at: start)
    }
    var string = ""
    while let byte = take(), byte != UInt8(ascii: "\\"), (0x20..<0x7F).contains(byte) {
      if byte == quote { return string }
      string.unicodeScalars.append(Unicode.Scalar(byte))
    }
    throw error("a string without an end in plain ASCII", at: start)
  }

  private mutating func readPythonBool() throws(HeaderTextError) -> Bool {
    if take(word: "True") { return true }
    if take(word: "False") { return false }
    throw unexpected("True or False")
  }

  /// Reads a tuple of whole numbers: `()`, `(3,)`, `(3, 4)`; `(3)` is a number, not a tuple.
  ///
  /// Python 2 wrote long integers as `3L`.
  private mutating func readPythonTuple() throws(HeaderTextError) -> [Int] {
    try expect("(", "to begin a shape")
    skipSpace()
    var numbers: [Int] = []
    while !take(")") {
      numbers.append(try takeWholeNumber())
      _ = take("L")
      skipSpace()
      if numbers.count > 1, take(")") { break }
      try expect(",", "after a dimension")
      skipSpace()
    }
    return numbers
  }
}
