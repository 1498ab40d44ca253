// The standard library normalizes every string that it compares, and has no public name for it.
@_spi(_Unicode) import Swift

/// Valid UTF-8 in Unicode's form NFC: what can be one character is one.
///
/// - Complexity: O(text); a text without characters from U+0300 on is returned as it is.
func composed(_ text: [UInt8]) -> [UInt8] {
  // U+0300 is the first that can change: the bytes CC 80.
  guard text.contains(where: { $0 >= 0xCC }) else { return text }
  var result: [UInt8] = []
  result.reserveCapacity(text.count)
  for scalar in String(decoding: text, as: UTF8.self)._nfc {
    UTF8.encode(scalar).map { result.append(contentsOf: $0) }
  }
  return result
}
