import ArgumentParser

/// The settings in environment variables: `GYRE_THREADS` for `--threads`.
struct EnvironmentSettings {
  /// Variables that the build and the scripts in Launch and Tests read or set: never options.
  private static let scriptVariables: Set<String> = [
    "GYRE_BINARY", "GYRE_COMMAND", "GYRE_CORES", "GYRE_DATA", "GYRE_HOME", "GYRE_LINK_RATE",
    "GYRE_MODELS", "GYRE_PROGRESS", "GYRE_REQUEUE", "GYRE_SSH",
  ]

  /// Names the settings file.
  private static let fileVariable = "GYRE_SETTINGS"

  private let variables: [String: String]

  /// Takes the variables that could be meant; an empty one counts as unset.
  init(_ environment: [String: String]) {
    variables = environment.filter {
      $0.key.hasPrefix("GYRE_") && !$0.value.isEmpty && !Self.scriptVariables.contains($0.key)
    }
  }

  /// The settings file, if one is named.
  var file: Setting? {
    variables[Self.fileVariable].map {
      Setting(option: "--settings", value: $0, arguments: [], origin: Self.fileVariable)
    }
  }

  /// What a variable says of an option; nil if it is not set.
  func setting(_ option: CommandOption) throws -> Setting? {
    guard let text = variables[option.variable] else { return nil }
    guard let setting = option.setting(text: text, origin: option.variable) else {
      throw ValidationError(
        "\(option.variable) is '\(text)', and --\(option.name) is \(option.expectation).")
    }
    return setting
  }

  /// Sentences on variables that nothing reads but that look like the name of an option.
  ///
  /// Others are left alone: scripts and sites have variables of their own.
  func slips(_ catalog: OptionCatalog) -> [String] {
    let known = Set(catalog.settings.map(\.variable)).union([Self.fileVariable])
    return variables.keys.filter { !known.contains($0) }.sorted().compactMap { name in
      let prefix = "GYRE_".count
      return nearName(
        to: String(name.dropFirst(prefix)), among: known.map { String($0.dropFirst(prefix)) }
      ).map { "\(name) is the name of no option and is not read; do you mean GYRE_\($0)?" }
    }
  }
}
