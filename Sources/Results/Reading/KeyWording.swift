package import Reporting

/// How keys of results and their values are said to people.
package enum KeyWording {
  /// `headDim` as `head dim`.
  package static func words(_ name: String) -> String {
    var words = ""
    for character in name {
      if character.isUppercase { words += " " }
      words += character.lowercased()
    }
    return words
  }

  /// A key and its value: `forward`, `causal`, `8 ranks`, `head dim 64`; nil for null.
  package static func phrase(_ name: String, _ value: JSONValue) -> String? {
    let words = words(name)
    switch value {
    case .null: return nil
    case .bool(let isTrue): return isTrue ? words : opposites[name] ?? "not \(words)"
    case .string(let text): return short(text)
    case .integer(let number) where name == "from" || name == "to":
      return "\(name) rank \(number)"
    case .integer(let number):
      guard let first = words.split(separator: " ").first(where: { $0.hasSuffix("s") }) else {
        return words == "bytes" ? nil : "\(words) \(grouped(number))"
      }
      guard number == 1 else { return "\(grouped(number)) \(words)" }
      let singular = first.hasSuffix("ies") ? first.dropLast(3) + "y" : first.dropLast()
      return "1 "
        + words.split(separator: " ").map { $0 == first ? singular : $0 }
        .joined(separator: " ")
    case .unsigned, .number: return "\(words) \(value.word ?? "")"
    case .array, .object: return nil
    }
  }

  private static let opposites = [
    "causal": "full", "sameHost": "between hosts", "reproducible": "fast sums",
  ]

  /// The first and the last of a list.
  private static func short(_ text: String) -> String {
    let parts = text.split(separator: ",")
    guard parts.count > 2 else { return text }
    return "\(parts[0]) … \(parts[parts.count - 1])"
  }

  /// The values of some keys.
  package static func phrase(_ keys: [String], of values: [String: JSONValue]) -> String {
    keys.compactMap { key in values[key].flatMap { phrase(key, $0) } }.joined(separator: ", ")
  }

  /// The fewest of `keys`, found from their end, that tell as many of `things` apart as all do.
  package static func distinguishing(_ keys: [String], of things: [[String: JSONValue]]) -> [String]
  {
    func kinds(_ keys: [String]) -> Int {
      Set(things.map { thing in keys.map { thing[$0] ?? .null } }).count
    }
    let all = kinds(keys)
    var left = keys.filter { kinds([$0]) > 1 }
    for key in left.reversed() {
      let others = left.filter { $0 != key }
      if kinds(others) == all { left = others }
    }
    return left
  }
}
