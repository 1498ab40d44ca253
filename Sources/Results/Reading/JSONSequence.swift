import Reporting

/// JSON objects one after the other: one, a line each, or files that were joined.
struct JSONSequence {
  private let bytes: [UInt8]
  private let path: String

  /// - Parameter path: the file's name, for errors.
  init(_ bytes: [UInt8], path: String) {
    self.bytes = bytes
    self.path = path
  }

  /// - Throws: a sentence with the line of what cannot be read.
  func values() throws -> [JSONValue] {
    var values: [JSONValue] = []
    var start = 0
    while let first = bytes[start...].firstIndex(where: { !Self.isSpace($0) }) {
      guard bytes[first] == UInt8(ascii: "{") else {
        throw UserError.usage(
          "\(path), line \(line(of: first)), is no JSON object; "
            + "measure with gyre bench … --format json or jsonl.")
      }
      guard let end = endOfObject(from: first) else {
        throw UserError.usage(
          "\(path) ends within the object that begins in line \(line(of: first)); "
            + "remove what an interrupted run has left, or measure again.")
      }
      do {
        values.append(try JSONValue(parsing: bytes[first..<end]))
      } catch {
        throw UserError.usage(
          "\(path): the object that begins in line \(line(of: first)) is broken JSON; measure "
            + "again."
        )
      }
      if let key = JSONKeys.repeated(in: bytes[first..<end]) {
        throw UserError.usage(
          "\(path) has '\(key.path)' twice in the same object, the second time in line "
            + "\(line(of: first) + key.line - 1); remove one of them, or measure again.")
      }
      start = end
    }
    return values
  }

  /// The index after the brace that closes the one at `start`.
  private func endOfObject(from start: Int) -> Int? {
    var depth = 0
    var isText = false
    var index = start
    while index < bytes.count {
      switch bytes[index] {
      case UInt8(ascii: "\\") where isText: index += 1
      case UInt8(ascii: "\""): isText.toggle()
      case UInt8(ascii: "{") where !isText: depth += 1
      case UInt8(ascii: "}") where !isText:
        depth -= 1
        if depth == 0 { return index + 1 }
      default: break
      }
      index += 1
    }
    return nil
  }

  private func line(of index: Int) -> Int {
    1 + bytes[..<index].count { $0 == UInt8(ascii: "\n") }
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
}
