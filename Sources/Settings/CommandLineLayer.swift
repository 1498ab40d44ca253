/// A command line taken apart by the options of the command that it names.
///
/// It judges nothing: what is no option here is left for the parser to refuse.
struct CommandLineLayer {
  /// The names that lead to the command.
  let path: [String]
  let command: OptionCatalog
  /// All that follows, as the parser is to see it.
  private(set) var rest: [String] = []
  /// The options in it, by name; of several of a name the last.
  private(set) var given: [String: Setting] = [:]

  /// Takes a command line apart; nil if it names no command that could run.
  init?(_ arguments: [String], _ catalog: OptionCatalog) {
    var (command, path) = (catalog, [String]())
    while path.count < arguments.count, let next = command.subcommand(arguments[path.count]) {
      (command, path) = (next, path + [next.name])
    }
    guard !path.isEmpty, command.subcommands.isEmpty else { return nil }
    (self.command, self.path) = (command, path)
    var words = arguments.dropFirst(path.count)
    while let word = words.popFirst() {
      if word == "--" {
        rest += [word] + words
        return
      }
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let option = command.options.first { $0.spellings.contains(String(parts[0])) }
      guard let option, word.hasPrefix("-") else {
        rest.append(word)
        continue
      }
      read(option, word, value: parts.count > 1 ? String(parts[1]) : nil, &words)
    }
  }

  private mutating func read(
    _ option: CommandOption, _ word: String, value: String?, _ words: inout ArraySlice<String>
  ) {
    switch option.kind {
    case .flag(let inverse):
      // The parser has no word for switching off a flag that another layer has switched on.
      if let value, word.hasPrefix("--\(option.name)="),
        let setting = option.setting(text: value, origin: nil)
      {
        rest += setting.arguments
        given[option.name] = setting
      } else {
        rest.append(word)
        given[option.name] = Setting(
          option: "--\(option.name)", value: "\(word != inverse)", arguments: [word], origin: nil)
      }
    case .value:
      rest.append(word)
      let next = value == nil ? words.popFirst() : nil
      if let next { rest.append(next) }
      given[option.name] = Setting(
        option: "--\(option.name)", value: value ?? next ?? "",
        arguments: [word] + (next.map { [$0] } ?? []), origin: nil)
    }
  }
}
