import FoundationEssentials

/// The keys of JSON text.
///
/// Foundation's parser keeps one of two equal keys of an object and says nothing; somebody has
/// meant the other.
package enum JSONKeys {
  /// A key that an object has twice.
  package struct Repeated {
    /// The keys that lead to it, joined by dots.
    package let path: String
    /// The line of its second place, from 1.
    package let line: Int
  }

  /// An object or a list that is open.
  private struct Level {
    let isObject: Bool
    var keys: Set<String> = []
    /// The key whose value is being read.
    var key: String?
    var expectsKey: Bool

    init(isObject: Bool) {
      self.isObject = isObject
      expectsKey = isObject
    }
  }

  /// The first key that comes twice in an object of valid JSON text; nil if none does.
  ///
  /// - Complexity: O(length of the text).
  package static func repeated(in text: some RandomAccessCollection<UInt8>) -> Repeated? {
    var levels: [Level] = []
    var line = 1
    var index = text.startIndex
    while index < text.endIndex {
      let byte = text[index]
      switch byte {
      case UInt8(ascii: "\n"): line += 1
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        levels.append(Level(isObject: byte == UInt8(ascii: "{")))
      case UInt8(ascii: "}"), UInt8(ascii: "]"): _ = levels.popLast()
      case UInt8(ascii: ","):
        if let last = levels.indices.last { levels[last].expectsKey = levels[last].isObject }
      case UInt8(ascii: "\""):
        let end = endOfString(in: text, from: index)
        if let last = levels.indices.last, levels[last].expectsKey {
          let key = string(text[index..<end])
          levels[last].key = key
          levels[last].expectsKey = false
          if !levels[last].keys.insert(key).inserted {
            let path = levels.compactMap(\.key).joined(separator: ".")
            return Repeated(path: path, line: line)
          }
        }
        index = end
        continue
      default: break
      }
      index = text.index(after: index)
    }
    return nil
  }

  /// The index after the quote that ends the string at `start`.
  private static func endOfString<Text: RandomAccessCollection<UInt8>>(
    in text: Text, from start: Text.Index
  ) -> Text.Index {
    var index = text.index(after: start)
    while index < text.endIndex, text[index] != UInt8(ascii: "\"") {
      if text[index] == UInt8(ascii: "\\") { index = text.index(after: index) }
      if index < text.endIndex { index = text.index(after: index) }
    }
    return index < text.endIndex ? text.index(after: index) : index
  }

  /// What a string in quotes stands for.
  private static func string(_ quoted: some Collection<UInt8>) -> String {
    (try? JSONDecoder().decode(String.self, from: Data(quoted)))
      ?? String(decoding: quoted, as: UTF8.self)
  }
}
