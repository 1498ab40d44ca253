import ArgumentParser

/// Refuses words of a command line that are no command and no option, with what may be meant.
///
/// The parser would do so too, but only after the command has judged what it takes for its input:
/// of `-n 3` it would speak of a file called 3.
func refuseUnknownWords(_ arguments: [String], _ catalog: OptionCatalog) throws {
  // What these ask for is printed whatever else there is.
  let printing = ["-h", "-help", "--help", "--help-hidden", "--version"]
  guard let first = arguments.first,
    !arguments.prefix(while: { $0 != "--" }).contains(where: {
      printing.contains($0) || $0.hasPrefix("--generate-completion-script")
    })
  else { return }
  if first.hasPrefix("-") { throw misplaced(first, arguments, catalog) }
  var command = catalog
  var words = arguments.drop { $0 == "help" }
  while !command.subcommands.isEmpty {
    guard let word = words.first, !word.hasPrefix("-") else { return }
    guard let next = command.subcommand(word) else {
      let depth = arguments.count - words.count - (first == "help" ? 1 : 0)
      throw unknownCommand(word, after: depth, of: command, catalog)
    }
    command = next
    words = words.dropFirst()
  }
  if first == "help" { return }
  let path = arguments.prefix(arguments.count - words.count).joined(separator: " ")
  while let word = words.popFirst(), word != "--" {
    guard word.first.map({ "-–—".contains($0) }) == true, word.count > 1 else { continue }
    let spelling = String(word.prefix { $0 != "=" })
    guard let option = command.options.first(where: { $0.spellings.contains(spelling) }) else {
      throw unknownOption(spelling, of: command, path, catalog)
    }
    if case .value = option.kind, spelling == word { _ = words.popFirst() }
  }
}

/// The error that an option comes before the command.
private func misplaced(
  _ word: String, _ arguments: [String], _ catalog: OptionCatalog
) -> ValidationError {
  if let sentence = launcherOption(word) { return ValidationError(sentence) }
  let command = arguments.first { catalog.subcommand($0) != nil } ?? "attend"
  return ValidationError(
    "'\(word)' comes before the command; begin with the command, as in gyre \(command) \(word).")
}

/// The error that there is no such command.
private func unknownCommand(
  _ word: String, after depth: Int, of command: OptionCatalog, _ catalog: OptionCatalog
) -> ValidationError {
  let names = command.subcommands.map(\.name)
  let program = catalog.name
  let isProgram = word == program || word.hasSuffix("/\(program)")
  let near = likelyName(for: word.lowercased(), among: names + (depth == 0 ? [program] : []))
  if depth == 0, isProgram || near == program {
    return ValidationError(
      "'\(word)' is no command; leave it out, as the program is named before it already, and begin "
        + "with one of \(names.joined(separator: ", ")).")
  }
  let start = "there is no command '\(word)'" + (depth == 0 ? "" : " of \(command.name)")
  if let near { return ValidationError("\(start); do you mean '\(near)'?") }
  if let owner = catalog.subcommands.first(where: { $0.subcommand(word) != nil }) {
    return ValidationError("\(start); do you mean '\(owner.name) \(word)'?")
  }
  if depth == 0, word.contains(where: { "./".contains($0) }) {
    return ValidationError("\(start); give the command before its input, as in attend \(word).")
  }
  return ValidationError("\(start); give one of \(names.joined(separator: ", ")).")
}

/// The error that a command has no such option.
private func unknownOption(
  _ word: String, of command: OptionCatalog, _ path: String, _ catalog: OptionCatalog
) -> ValidationError {
  let start = "\(path) has no option '\(word)'"
  let name = String(word.drop { "-–—".contains($0) })
  let names = command.options.flatMap(\.spellings).filter { $0.hasPrefix("--") }
    .map { String($0.dropFirst(2)) }
  let plain = name.lowercased().replacing("_", with: "-")
  if names.contains(plain) { return ValidationError("\(start); do you mean --\(plain)?") }
  if let sentence = launcherOption(word) { return ValidationError("\(start): \(sentence)") }
  if command.positionals.contains(plain) {
    return ValidationError(
      "\(start); give the \(plain) itself, as in \(path) \(plain.uppercased()).")
  }
  if name.count > 1, let near = nearName(to: plain, among: names) {
    return ValidationError("\(start); do you mean --\(near)?")
  }
  let longer = names.filter { !plain.isEmpty && $0.hasPrefix(plain) || $0 == "max-\(plain)" }
  if (1...4).contains(longer.count) {
    let list = longer.sorted().map { "--\($0)" }.joined(separator: " or ")
    return ValidationError("\(start); do you mean \(list)?")
  }
  let isSize = ["batch", "tokens", "heads", "kv-heads", "head-dim"].contains(plain)
  let advice =
    isSize && names.contains("random")
    ? "sizes are those of the input, or of --random" : "leave it out"
  let owners = catalog.commands(with: name)
  if !owners.isEmpty {
    return ValidationError(
      "\(start), which is one of \(owners.joined(separator: ", ")); \(advice).")
  }
  return ValidationError("\(start); \(advice).")
}

/// A sentence about an option of mpirun, which belongs before gyre; nil if it is none.
private func launcherOption(_ word: String) -> String? {
  let name = word.drop { $0 == "-" }
  let digits = name.drop { "np=".contains($0) }
  let isCount =
    ["n", "np", "c", "N"].contains(name)
    || name.first == "n" && !digits.isEmpty && digits.allSatisfy(\.isNumber)
  if isCount {
    return "the number of ranks goes before the command, as in mpirun -n 2 gyre attend (or "
      + "Launch/local -n 2 attend)."
  }
  let options = [
    "hostfile", "machinefile", "host", "H", "mca", "x", "map-by", "bind-to", "rank-by",
    "oversubscribe", "allow-run-as-root", "display-map", "report-bindings", "tag-output", "wdir",
    "prefix", "npernode",
  ]
  return options.contains(String(name))
    ? "'\(word)' is an option of mpirun; give it before the command, as in mpirun -n 2 \(word) … "
      + "gyre attend."
    : nil
}

extension OptionCatalog {
  /// The commands below this one that have an option of that name.
  fileprivate func commands(with option: String) -> [String] {
    subcommands.flatMap { command in
      (command.options.contains { $0.name == option } ? [command.name] : [])
        + command.commands(with: option).map { "\(command.name) \($0)" }
    }
  }
}
