import Tensors

/// What is wrong with a header, and at which byte of the file.
struct GGUFProblem: Error {
  let problem: String
  let offset: Int
  /// Whether the file ends too early.
  var isTruncation = false
}

/// A place in the header of a file: each step checks that what it reads is there.
struct GGUFCursor: ~Escapable {
  private let bytes: RawSpan
  private(set) var offset = 0

  @_lifetime(copy bytes)
  init(_ bytes: RawSpan) {
    self.bytes = bytes
  }

  /// The bytes that are still to be read.
  var remaining: Int { bytes.byteCount - offset }

  func problem(_ text: String, at offset: Int? = nil) -> GGUFProblem {
    GGUFProblem(problem: text, offset: offset ?? self.offset)
  }

  private mutating func advance(_ count: Int, _ what: String) throws(GGUFProblem) -> Int {
    guard count <= remaining else {
      throw GGUFProblem(
        problem: "the file ends within \(what)", offset: offset, isTruncation: true)
    }
    offset += count
    return offset - count
  }

  mutating func number<Number: PlainNumber>(
    _ type: Number.Type, _ what: String
  ) throws(GGUFProblem) -> Number {
    let start = try advance(MemoryLayout<Number>.size, what)
    return bytes.number(at: start, as: type)
  }

  /// A count of things of at least `leastByteCount` bytes each, for which there must be room.
  mutating func count(
    _ leastByteCount: Int, _ what: String
  ) throws(GGUFProblem) -> Int {
    let start = offset
    let count = try number(UInt64.self, "a count of \(what)")
    guard count <= UInt64(remaining / leastByteCount) else {
      throw problem(
        "\(count) \(what) are more than the \(remaining) bytes that follow can hold", at: start)
    }
    return Int(count)
  }

  /// The bytes of a string: a length of 8 bytes, then as many bytes.
  mutating func string(_ what: String) throws(GGUFProblem) -> [UInt8] {
    let start = offset
    let length = try number(UInt64.self, what)
    guard length <= UInt64(remaining) else {
      throw GGUFProblem(
        problem: "\(what) would be \(length) bytes long, but \(remaining) follow", offset: start,
        isTruncation: true)
    }
    let first = try advance(Int(length), what)
    return bytes.extracting(first..<first + Int(length)).array
  }

  /// A string that must be valid UTF-8, as names are.
  mutating func name(_ what: String) throws(GGUFProblem) -> String {
    let start = offset
    guard let name = String(validating: try string(what), as: UTF8.self) else {
      throw problem("\(what) is not valid UTF-8", at: start)
    }
    guard !name.isEmpty else { throw problem("\(what) is empty", at: start) }
    return name
  }
}
