package import ArgumentParser

/// Where settings come from besides the command line.
///
/// Every command has these options. `LayeredArguments` reads them before the command is parsed;
/// here they are for the help.
package struct SettingsOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      A JSON file of options, which GYRE_… variables (GYRE_THREADS for --threads) and the command \
      line override. (default: the file that GYRE_SETTINGS names)
      """, valueName: "file"),
    completion: .file(extensions: ["json"]))
  package var settings: String?

  @Flag(help: "Print the options that are set and where each comes from, instead of running.")
  var explainSettings = false

  package init() {}
}
