import Foundation
import TestSupport
import Testing

/// What shells and man pages are told of the commands.
@Suite("Completions and the source of man pages")
struct ShellSupportTests {
  private func output(_ arguments: [String]) async throws -> String {
    let result = try await MPIJob.runAlone(program: "gyre", arguments: arguments)
    #expect(result.isSuccess, "\(result)")
    return result.standardOutput
  }

  /// Puts words before a cursor as bash does when the tab key is pressed.
  private func completions(_ words: String..., script: String) async throws -> [String] {
    let folder = try TemporaryFolder()
    let completion = try folder.file("gyre.bash", Array(script.utf8))
    let result = try await Command.run(
      "bash",
      arguments: [
        "-c",
        """
        source "$0"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*"
        COMP_POINT=${#COMP_LINE} COMPREPLY=()
        [[ $(complete -p gyre) =~ -F\\ ([^ ]+) ]] || exit 1
        "${BASH_REMATCH[1]}" gyre "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
        """, completion, "gyre",
      ] + words, timeoutSeconds: 20)
    #expect(result.isSuccess && result.standardError == "", "\(result)")
    return result.standardOutput.split(separator: "\n").map(String.init)
  }

  @Test func bashCompletesCommandsOptionsAndTheirValues() async throws {
    let script = try await output(["--generate-completion-script", "bash"])
    #expect(try await completions("att", script: script) == ["attend"])
    #expect(
      try await completions("attend", "--tr", script: script) == [
        "--transport", "--travel", "--trace",
      ])
    #expect(
      try await completions("attend", "--transport", "", script: script)
        == ["ring", "shared", "hierarchical", "allgather", "query", "heads", "mesh", "auto"])
    #expect(
      try await completions("stream", "--head-offset", "g", script: script) == ["grouped"])
    #expect(try await completions("bench", "kernel", "--dtype", "i", script: script) == ["int8"])
    #expect(
      try await completions("attend", "--se", script: script)
        == ["--segments", "--seed", "--settings"])
  }

  @Test(arguments: ["bash", "zsh", "fish"])
  func scriptsAreOnesThatTheirShellsCanRead(shell: String) async throws {
    let script = try await output(["--generate-completion-script", shell])
    #expect(script.contains("branch-weights-gradient"))
    let folder = try TemporaryFolder()
    let path = try folder.file("completion", Array(script.utf8))
    // A shell that is not installed cannot judge; that exits with 127.
    let result = try await Command.run(shell, arguments: ["-n", path], timeoutSeconds: 20)
    #expect(result.isSuccess || result.ending == .exited(127), "\(result)")
  }

  /// `generate-manual` drops what is not ASCII, and prints no defaults of its own.
  @Test func manPagesSayWhatTheHelpSays() async throws {
    let source = try await output(["--experimental-dump-help"])
    #expect(source.utf8.allSatisfy { $0 < 0x80 })
    #expect(source.contains("The seed of --random. (default: 0)"))
    #expect(source.contains("(values: text, json; default: text)"))
    #expect(source.contains("q*k. (default: 1/sqrt headDim)"))
  }

  /// A new command gets the environment and GYRE_SETTINGS by itself, but `--settings` by a line of
  /// its own: `@OptionGroup(title: "Settings") var layers: SettingsOptions`.
  @Test func everyCommandHasTheOptionsOfSettings() async throws {
    struct Source: Decodable { let command: Command }
    struct Command: Decodable {
      struct Argument: Decodable {
        struct Name: Decodable { let name: String }
        let names: [Name]?
      }
      let commandName: String
      let subcommands: [Command]?
      let arguments: [Argument]?

      var leaves: [Command] { subcommands.map { $0.flatMap(\.leaves) } ?? [self] }
    }
    let source = try JSONDecoder().decode(
      Source.self, from: Data(try await output(["--experimental-dump-help"]).utf8))
    let commands = source.command.leaves.filter { $0.commandName != "help" }
    #expect(commands.count >= 4)
    for command in commands {
      let names = Set((command.arguments ?? []).flatMap { $0.names ?? [] }.map(\.name))
      #expect(
        names.isSuperset(of: ["settings", "explain-settings"]), "of \(command.commandName)")
    }
  }
}
