// The part of JSON (RFC 8259) that headers and tokenizers consist of: objects whose keys are known
// or are names, strings, numbers and lists.
//
// It is written for this purpose because duplicate keys have to be seen: the parsers of Foundation
// keep one of them and say nothing, and a file that different programs read differently is no file.

extension HeaderText {
  /// Reads an object and passes each key to `readValue`, which reads the value.
  ///
  /// Keys are compared byte by byte in UTF-8.
  ///
  /// - Parameter allowingRepeats: Whether a key may come again, which `readValue` then judges.
  package mutating func readObject(
    _ purpose: String, allowingRepeats: Bool = false,
    _ readValue: (inout HeaderText, String) throws(HeaderTextError) -> Void
  ) throws(HeaderTextError) {
    try expect("{", purpose)
    skipSpace()
    if take("}") { return }
    var keys: Set<[UInt8]> = []
    while true {
      skipSpace()
      let keyOffset = offset
      let key = try readString("of a key")
      guard allowingRepeats || keys.insert(Array(key.utf8)).inserted else {
        throw error("the key \(quoted(key)) for the second time", at: keyOffset)
      }
      skipSpace()
      try expect(":", "after the key \(quoted(key))")
      skipSpace()
      try readValue(&self, key)
      skipSpace()
      if take("}") { return }
      try expect(",", "or '}' after the value of \(quoted(key))")
    }
  }

  /// Reads a list of whole numbers of at least 0.
  mutating func readWholeNumbers(_ purpose: String) throws(HeaderTextError) -> [Int] {
    var numbers: [Int] = []
    try readList(purpose) { (text) throws(HeaderTextError) in
      numbers.append(try text.takeWholeNumber())
    }
    return numbers
  }

  /// Reads a list, each element with `readElement`.
  package mutating func readList(
    _ purpose: String, _ readElement: (inout HeaderText) throws(HeaderTextError) -> Void
  ) throws(HeaderTextError) {
    try expect("[", purpose)
    skipSpace()
    if take("]") { return }
    while true {
      skipSpace()
      try readElement(&self)
      skipSpace()
      if take("]") { return }
      try expect(",", "or ']' in a list")
    }
  }

  /// Reads a number.
  package mutating func readNumber() throws(HeaderTextError) -> Double {
    let start = offset
    try skipWord()
    guard let number = Double(String(decoding: text(start..<offset), as: UTF8.self)) else {
      throw error("a word where a number belongs", at: start)
    }
    return number
  }

  /// How deep values may nest that are passed over, as in the format's reference implementation.
  private static let greatestDepth = 128

  /// Passes over a value of any kind, which belongs to a key that means nothing here.
  package mutating func skipValue() throws(HeaderTextError) {
    // The brackets that are open, by what closes them.
    var open: [Unicode.Scalar] = []
    while true {
      skipSpace()
      let start = offset
      var isOpened = false
      if next == UInt8(ascii: "\"") {
        _ = try readString("of a value")
      } else if take("{") {
        isOpened = try opens(&open, "}", at: start)
      } else if take("[") {
        isOpened = try opens(&open, "]", at: start)
      } else {
        try skipWord()
      }
      if !isOpened, try endsValue(&open) { return }
      if open.last == "}" {
        skipSpace()
        _ = try readString("of a key")
        skipSpace()
        try expect(":", "after a key")
      }
    }
  }

  /// Notes a bracket that has been taken; false if it is closed at once.
  private mutating func opens(
    _ open: inout [Unicode.Scalar], _ closer: Unicode.Scalar, at start: Int
  ) throws(HeaderTextError) -> Bool {
    skipSpace()
    if take(closer) { return false }
    guard open.count < Self.greatestDepth else {
      throw error("values nested deeper than \(Self.greatestDepth) levels", at: start)
    }
    open.append(closer)
    return true
  }

  /// Passes over what follows a value: brackets that close, and a comma; whether all are closed.
  private mutating func endsValue(_ open: inout [Unicode.Scalar]) throws(HeaderTextError) -> Bool {
    while let closer = open.last {
      skipSpace()
      guard take(closer) else {
        try expect(",", "or '\(closer)' after a value")
        return false
      }
      open.removeLast()
    }
    return true
  }

  /// Passes over a number, `true`, `false` or `null`.
  private mutating func skipWord() throws(HeaderTextError) {
    if take(word: "true") || take(word: "false") || take(word: "null") { return }
    let start = offset
    var digits = ""
    while let byte = next, "+-.0123456789Ee".utf8.contains(byte) {
      digits.unicodeScalars.append(Unicode.Scalar(byte))
      _ = take()
    }
    guard !digits.isEmpty else { throw unexpected("a value") }
    guard Double(digits) != nil else { throw error("\(quoted(digits)) for a number", at: start) }
  }

  /// Reads a string in double quotes.
  package mutating func readString(_ purpose: String) throws(HeaderTextError) -> String {
    let start = offset
    try expect("\"", purpose)
    var utf8: [UInt8] = []
    while let byte = take() {
      switch byte {
      case UInt8(ascii: "\""):
        guard let string = String(validating: utf8, as: UTF8.self) else {
          throw error("a string that is not valid UTF-8", at: start)
        }
        return string
      case UInt8(ascii: "\\"): utf8 += try readEscape()
      case ..<0x20: throw error("a control character in a string", at: offset - 1)
      default: utf8.append(byte)
      }
    }
    throw error("a string without an end", at: start)
  }

  /// Reads what follows a backslash, and returns what it stands for in UTF-8.
  private mutating func readEscape() throws(HeaderTextError) -> [UInt8] {
    let start = offset - 1
    switch take().map(Unicode.Scalar.init) {
    case "\"": return [0x22]
    case "\\": return [0x5C]
    case "/": return [0x2F]
    case "b": return [0x08]
    case "f": return [0x0C]
    case "n": return [0x0A]
    case "r": return [0x0D]
    case "t": return [0x09]
    case "u":
      var units = [try readHexUnit()]
      if UTF16.isLeadSurrogate(units[0]), take(word: "\\u") {
        units.append(try readHexUnit())
      }
      guard let string = String(validating: units, as: UTF16.self) else {
        throw error("an escaped half of a character", at: start)
      }
      return Array(string.utf8)
    default: throw error("an escape that JSON does not have", at: start)
    }
  }

  /// Reads four hexadecimal digits.
  private mutating func readHexUnit() throws(HeaderTextError) -> UInt16 {
    var unit: UInt16 = 0
    for _ in 0..<4 {
      guard let digit = next.flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }) else {
        throw unexpected("a hexadecimal digit")
      }
      _ = take()
      unit = unit << 4 | UInt16(digit)
    }
    return unit
  }
}
