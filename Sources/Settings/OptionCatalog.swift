import ArgumentParser
import FoundationEssentials

/// A command with the options it has and the commands below it.
package struct OptionCatalog {
  package let name: String
  let aliases: [String]
  package let options: [CommandOption]
  /// The names of what is given without an option.
  let positionals: [String]
  package let subcommands: [OptionCatalog]

  /// The command below this one that is called `name`.
  func subcommand(_ name: String) -> OptionCatalog? {
    subcommands.first { $0.name == name || $0.aliases.contains(name) }
  }

  /// The options of this command and of all below it that can be set.
  package var settings: [CommandOption] {
    options.filter(\.isSetting) + subcommands.flatMap(\.settings)
  }
}

extension OptionCatalog {
  /// All commands of a program, from the argument parser's own list, so that an option exists in
  /// one place.
  ///
  /// - Parameter dump: what `_dumpHelp` of the outermost command gives. It has an underscore
  ///   because its format may change; it is what `--experimental-dump-help` prints and what the
  ///   parser's tool for man pages reads. No other interface tells the options, and the tests of
  ///   settings would notice if it changed.
  package init(dump: String) throws {
    self = try JSONDecoder().decode(Dump.self, from: Data(dump.utf8)).command.catalog
  }

  private struct Dump: Decodable {
    let command: Command
  }

  private struct Command: Decodable {
    let commandName: String
    let aliases: [String]?
    let subcommands: [Command]?
    let arguments: [Argument]?

    var catalog: OptionCatalog {
      let arguments = arguments ?? []
      let flags = Set(arguments.filter { $0.kind == "flag" }.compactMap(\.name))
      return OptionCatalog(
        name: commandName, aliases: aliases ?? [],
        // The two names of a flag with an inversion come as two flags.
        options: arguments.filter { argument in
          !(argument.name.map { $0.hasPrefix("no-") && flags.contains(String($0.dropFirst(3))) }
            ?? false)
        }.compactMap { $0.option(flags: flags) },
        positionals: arguments.filter { $0.kind == "positional" }.compactMap(\.valueName),
        subcommands: (subcommands ?? []).filter { $0.commandName != "help" }.map(\.catalog))
    }
  }

  private struct Argument: Decodable {
    struct Name: Decodable {
      let kind: String
      let name: String
    }
    let kind: String
    let names: [Name]?
    let valueName: String?
    let isRepeating: Bool
    let allValues: [String]?

    /// The name that settings know it by.
    var name: String? { names?.first { $0.kind == "long" }?.name }

    /// As an option; nil for a positional argument, which only a command line has.
    func option(flags: Set<String>) -> CommandOption? {
      guard kind != "positional", let name else { return nil }
      let spellings = (names ?? []).map { ($0.kind == "long" ? "--" : "-") + $0.name }
      if kind == "option" {
        return CommandOption(
          name: name, spellings: spellings,
          kind: .value(allowed: allValues ?? [], isRepeating: isRepeating))
      }
      let inverse = flags.contains("no-\(name)") ? "--no-\(name)" : nil
      return CommandOption(
        name: name, spellings: spellings + (inverse.map { [$0] } ?? []),
        kind: .flag(inverse: inverse))
    }
  }
}
