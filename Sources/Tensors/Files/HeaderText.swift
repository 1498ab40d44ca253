/// Why the text of a header is not what its format demands, and where.
package struct HeaderTextError: Error, Hashable {
  package let problem: String

  /// The place of the offending byte, counted from the start of the text.
  package let offset: Int
}

/// A place in the text of a header, and the steps that the parsers of JSON and of Python's literals
/// have in common.
///
/// There is no recursion: both formats are read by their fixed nesting, and whatever nests deeper
/// is an error where it begins.
package struct HeaderText {
  private let bytes: [UInt8]
  package private(set) var offset = 0

  package init(_ bytes: [UInt8]) {
    self.bytes = bytes
  }

  /// The next byte, or nil at the end.
  package var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  /// Takes the next byte, if there is one.
  mutating func take() -> UInt8? {
    guard let byte = next else { return nil }
    offset += 1
    return byte
  }

  /// Takes the next byte if it is `character`.
  package mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: character) else { return false }
    offset += 1
    return true
  }

  /// Takes `character`, which must come next.
  mutating func expect(_ character: Unicode.Scalar, _ purpose: String) throws(HeaderTextError) {
    guard take(character) else { throw unexpected("'\(character)' \(purpose)") }
  }

  /// Takes the given word if it comes next.
  mutating func take(word: String) -> Bool {
    guard bytes[offset...].starts(with: word.utf8) else { return false }
    offset += word.utf8.count
    return true
  }

  /// Passes over spaces, tabs and line ends.
  package mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
      offset += 1
    }
  }

  /// Takes a whole number of at least 0 in decimal digits, without leading zeros.
  package mutating func takeWholeNumber() throws(HeaderTextError) -> Int {
    let start = offset
    if next == UInt8(ascii: "-") { throw error("a negative number") }
    var value = 0
    while let byte = next, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
      let (tens, tooLarge) = value.multipliedReportingOverflow(by: 10)
      let (sum, tooLargeSum) = tens.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
      if tooLarge || tooLargeSum { throw error("a number beyond \(Int.max)", at: start) }
      value = sum
      offset += 1
    }
    if offset == start { throw unexpected("a whole number") }
    if offset > start + 1, bytes[start] == UInt8(ascii: "0") {
      throw error("a number with a leading zero", at: start)
    }
    if let byte = next, [".", "e", "E"].contains(Unicode.Scalar(byte)) {
      throw error("a fractional number where a whole one belongs", at: start)
    }
    return value
  }

  /// The bytes of a stretch.
  package func text(_ range: Range<Int>) -> ArraySlice<UInt8> { bytes[range] }

  /// The error that something other than `expected` comes next.
  package func unexpected(_ expected: String) -> HeaderTextError {
    guard let next else { return error("the end of the text where \(expected) belongs") }
    let found = next < 0x80 ? quoted(String(Unicode.Scalar(next))) : "a byte beyond ASCII"
    return error("\(found) where \(expected) belongs")
  }

  /// The error that `problem` is found here, or at another place.
  package func error(_ problem: String, at offset: Int? = nil) -> HeaderTextError {
    HeaderTextError(problem: problem, offset: offset ?? self.offset)
  }
}
