import Reporting

/// An option or a flag of a command, as settings see it.
package struct CommandOption {
  /// What it takes.
  enum Kind {
    /// Nothing; it has a second name that switches it off, or none.
    case flag(inverse: String?)
    /// A value, of these if it names them; several options of the name make a list, or the last
    /// wins.
    case value(allowed: [String], isRepeating: Bool)
  }

  /// Its name without dashes, which is the key in a settings file.
  let name: String
  /// All that it is called on the command line, with dashes.
  let spellings: [String]
  let kind: Kind

  /// The environment variable that sets it.
  var variable: String {
    "GYRE_" + name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
  }

  /// Whether it can come from elsewhere than the command line.
  ///
  /// The others ask for something to be printed instead of a run, or say where settings are.
  var isSetting: Bool {
    !["help", "version", "settings", "explain-settings"].contains(name)
  }

  /// The value that it takes and that may be meant by one that it does not take.
  func nearValue(to value: String) -> String? {
    guard case .value(let allowed, _) = kind, !allowed.contains(value) else { return nil }
    // What follows a colon is the user's to say, as in mesh:2x4.
    let name = value.prefix { $0 != ":" }
    let names = allowed.filter { !$0.contains(":") }
    guard !names.contains(String(name)) else { return nil }
    return likelyName(for: name.lowercased(), among: names).map { $0 + value.dropFirst(name.count) }
  }

  /// What it takes, for a sentence.
  var expectation: String {
    switch kind {
    case .flag: "a flag: true or false"
    case .value(let allowed, _):
      allowed.isEmpty
        ? "an option: a text, a number, or a list of them"
        : "an option: one of \(allowed.joined(separator: ", "))"
    }
  }

  /// This option set to a value; nil if it takes no such value.
  ///
  /// The arguments join name and value, so that a value may start with a dash.
  func setting(_ value: JSONValue, origin: String?) -> Setting? {
    switch (kind, value) {
    case (.flag(let inverse), .bool(let isOn)):
      let arguments = isOn ? ["--\(name)"] : inverse.map { [$0] } ?? []
      return Setting(option: "--\(name)", value: "\(isOn)", arguments: arguments, origin: origin)
    case (.value(let allowed, _), .bool(let value)) where allowed.contains("\(value)"):
      return setting(words: ["\(value)"], origin: origin)
    case (.value(_, let isRepeating), .array(let values)):
      let words = values.compactMap(\.word)
      guard !words.isEmpty, words.count == values.count else { return nil }
      return setting(
        words: isRepeating ? words : [words.joined(separator: ",")], origin: origin)
    case (.value, _):
      return value.word.map { setting(words: [$0], origin: origin) }
    case (.flag, _):
      return nil
    }
  }

  /// This option set to what a shell can say; nil if it takes no such value.
  func setting(text: String, origin: String?) -> Setting? {
    switch kind {
    case .flag: Bool(text).flatMap { setting(.bool($0), origin: origin) }
    case .value: setting(.string(text), origin: origin)
    }
  }

  private func setting(words: [String], origin: String?) -> Setting {
    Setting(
      option: "--\(name)", value: words.joined(separator: ","),
      arguments: words.map { "--\(name)=\($0)" }, origin: origin)
  }
}

/// An option with its value, and where that comes from.
struct Setting: Codable {
  /// Its name with dashes.
  let option: String
  /// The value as people read it.
  let value: String
  /// What it is on a command line; nothing for a flag that stays off.
  let arguments: [String]
  /// Where the value comes from; nil for the command line itself.
  let origin: String?
}
