/// The characters that stand for bytes in GPT-2's vocabulary, so that every token is printable.
///
/// Printable bytes of Latin-1 stand for themselves, the others for characters from U+0100 on.
enum ByteAlphabet {
  /// The character of each byte.
  static let characters: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (0..<256).map { byte in
      let isPrintable =
        (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte)
      if isPrintable { return Unicode.Scalar(UInt8(byte)) }
      defer { next += 1 }
      return Unicode.Scalar(next) ?? "\u{FFFD}"
    }
  }()

  /// The byte of each character from U+0000 on, or −1.
  private static let bytes: [Int16] = {
    var bytes = [Int16](repeating: -1, count: 0x100 + 68)
    for (byte, character) in characters.enumerated() { bytes[Int(character.value)] = Int16(byte) }
    return bytes
  }()

  /// The bytes that a token's characters stand for; nil if one stands for none.
  static func decode(_ token: ArraySlice<UInt8>) -> [UInt8]? {
    var result: [UInt8] = []
    result.reserveCapacity(token.count)
    var index = token.startIndex
    while index < token.endIndex {
      var value = Int(token[index])
      index += 1
      if value >= 0x80 {
        // All characters of the alphabet are at most two bytes long.
        guard value & 0xE0 == 0xC0, index < token.endIndex else { return nil }
        value = (value & 0x1F) << 6 | Int(token[index] & 0x3F)
        index += 1
      }
      guard value < bytes.count, bytes[value] >= 0 else { return nil }
      result.append(UInt8(bytes[value]))
    }
    return result
  }
}
