import ArgumentParser

/// What the command line, the environment and a settings file say together: one command line, and
/// where its parts come from.
package struct LayeredArguments: Codable {
  /// The command line with what the other layers add to it.
  package private(set) var arguments: [String] = []
  /// The options that are set.
  private(set) var settings: [Setting] = []
  /// Sentences on what looks like a mistake and is none for certain.
  package private(set) var warnings: [String] = []
  /// By option, the value that may be meant where it has one that it does not take.
  private(set) var nearValues: [String: String] = [:]
  /// Whether the settings are to be printed, and nothing run.
  package private(set) var isExplained = false

  /// A command line alone.
  package init(arguments: [String] = []) {
    self.arguments = arguments
  }

  /// Lays a command line over the environment over the file that one of them names.
  ///
  /// A command line that runs nothing, because it asks for help, stays as it is.
  package init(
    _ arguments: [String], environment: [String: String], catalog: OptionCatalog
  ) throws {
    self.arguments = arguments
    try refuseUnknownWords(arguments, catalog)
    guard let line = CommandLineLayer(arguments, catalog),
      line.given["help"] == nil, line.given["version"] == nil
    else { return }
    let environment = EnvironmentSettings(environment)
    let fileSetting = line.given["settings"] ?? environment.file
    let file = try fileSetting.map { try SettingsFile($0, catalog: catalog) }
    let settings = try line.command.options.compactMap { option -> Setting? in
      if let given = line.given[option.name] { return given }
      guard option.isSetting else { return option.name == "settings" ? fileSetting : nil }
      return try environment.setting(option) ?? file?.setting(option, of: line.path)
    }
    // Behind a `--` they would be files: they come first.
    self.arguments =
      line.path + settings.filter { $0.origin != nil }.flatMap(\.arguments) + line.rest
    self.settings = settings.filter { $0.option != "--explain-settings" }
    warnings = environment.slips(catalog)
    for option in line.command.options {
      let setting = settings.first { $0.option == "--\(option.name)" }
      nearValues["--\(option.name)"] = setting.flatMap { option.nearValue(to: $0.value) }
    }
    isExplained = line.given["explain-settings"]?.value == "true"
  }

  /// A message of the parser about a value in one line, and the value that may be meant.
  package func addingNearValue(to message: String) -> String {
    let lines = message.split(separator: "\n  - ")
    let line =
      lines.count == 1
      ? message
      : lines[0].replacing("one of the following:", with: "one of ")
        + lines.dropFirst().map { "'\($0)'" }.joined(separator: ", ")
    for setting in settings {
      let start = "The value '\(setting.value)' is invalid for '\(setting.option)"
      if line.hasPrefix(start), let near = nearValues[setting.option] {
        return line + (line.hasSuffix(".") ? "" : ".") + " Do you mean '\(near)'?"
      }
      if line.hasPrefix(start), line.hasSuffix(">'") {
        return "\(line): give \(Self.number(insteadOf: setting.value))"
      }
    }
    return line
  }

  /// What the parser does not say of a number that it refuses.
  private static func number(insteadOf value: String) -> String {
    if let number = Int(value) { return number < 0 ? "a number from 0 on" : "another number" }
    if !value.isEmpty, value.allSatisfy(\.isWholeNumber) { return "a smaller number" }
    return Double(value) == nil ? "a number" : "a whole number"
  }

  /// A message, and for each option it names that is not on the command line, where it comes from.
  package func addingOrigins(to message: String) -> String {
    let origins = settings.compactMap { setting in
      setting.origin.flatMap { origin in
        message.mentions(setting.option) || setting.arguments.contains(where: message.mentions)
          ? "\(setting.option) comes from \(origin)." : nil
      }
    }
    guard !origins.isEmpty else { return message }
    // The parser's lists of names have a line each.
    let end = message.contains("\n") ? "\n" : message.hasSuffix(".") ? " " : ". "
    return message + end + origins.joined(separator: " ")
  }

  /// The settings in a table, for people.
  package var explanation: String {
    guard !settings.isEmpty else { return "Every option has its default." }
    let widths = (
      settings.map(\.option.count).max() ?? 0, settings.map(\.value.count).max() ?? 0
    )
    func padded(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: width - text.count)
    }
    return settings.map {
      "\(padded($0.option, widths.0))   \(padded($0.value, widths.1))   "
        + ($0.origin ?? "command line")
    }.joined(separator: "\n")
  }
}

extension String {
  /// Whether an option stands in this text, and not only as part of a longer name.
  fileprivate func mentions(_ option: String) -> Bool {
    ranges(of: option).contains { range in
      guard range.upperBound < endIndex else { return true }
      let next = self[range.upperBound]
      return !next.isLetter && !next.isNumber && next != "-"
    }
  }
}
