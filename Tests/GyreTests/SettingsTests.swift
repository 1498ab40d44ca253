import Foundation
import TestSupport
import Testing

/// Options from the environment and from a JSON file, under those of the command line.
@Suite("Settings")
struct SettingsTests {
  private let folder: TemporaryFolder
  private let random = ["--random", "1x64x2x2x8"]

  init() throws { folder = try TemporaryFolder() }

  private func file(_ text: String) throws -> String {
    try folder.file("site.json", Array(text.utf8))
  }

  /// What `--explain-settings` prints: value and origin of each option.
  private func explained(
    _ arguments: [String], _ environment: [String: String] = [:],
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> [String: [String]] {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: arguments + ["--explain-settings"], environment: environment)
    #expect(result.isSuccess, "\(result)", sourceLocation: sourceLocation)
    let rows = result.standardOutput.split(separator: "\n").map {
      $0.split(separator: "   ").map { $0.trimmingCharacters(in: .whitespaces) }
    }
    return Dictionary(uniqueKeysWithValues: rows.map { ($0[0], Array($0.dropFirst())) })
  }

  @Test func theCommandLineWinsOverTheEnvironmentAndThatOverTheFile() async throws {
    let path = try file(#"{"threads": 2, "attend": {"wire": "f16"}}"#)
    let arguments = ["attend"] + random
    var settings = try await explained(arguments + ["--settings", path])
    #expect(settings["--threads"] == ["2", "threads in \(path)"])
    #expect(settings["--wire"] == ["f16", "attend.wire in \(path)"])
    #expect(settings["--random"] == ["1x64x2x2x8", "command line"])
    #expect(settings["--seed"] == nil)

    let environment = ["GYRE_SETTINGS": path, "GYRE_THREADS": "3", "GYRE_WIRE": ""]
    settings = try await explained(arguments, environment)
    #expect(settings["--threads"] == ["3", "GYRE_THREADS"])
    #expect(settings["--wire"] == ["f16", "attend.wire in \(path)"])
    #expect(settings["--settings"] == [path, "GYRE_SETTINGS"])

    settings = try await explained(arguments + ["--threads", "4", "--wire=bf16"], environment)
    #expect(settings["--threads"] == ["4", "command line"])
    #expect(settings["--wire"] == ["bf16", "command line"])
  }

  @Test func flagsCanBeSwitchedOffInEachLayer() async throws {
    let path = try file(#"{"causal": true, "overlap": false}"#)
    let arguments = ["attend"] + random + ["--settings", path]
    var settings = try await explained(arguments)
    #expect(settings["--causal"] == ["true", "causal in \(path)"])
    #expect(settings["--overlap"] == ["false", "overlap in \(path)"])

    let environment = ["GYRE_CAUSAL": "false", "GYRE_OVERLAP": "true"]
    settings = try await explained(arguments, environment)
    #expect(settings["--causal"] == ["false", "GYRE_CAUSAL"])
    #expect(settings["--overlap"] == ["true", "GYRE_OVERLAP"])

    settings = try await explained(arguments + ["--causal", "--no-overlap"], environment)
    #expect(settings["--causal"] == ["true", "command line"])
    #expect(settings["--overlap"] == ["false", "command line"])

    settings = try await explained(arguments + ["--causal=false"])
    #expect(settings["--causal"] == ["false", "command line"])
  }

  @Test func whatIsExplainedIsWhatRuns() async throws {
    let path = try file(
      #"{"attend": {"causal": true, "overlap": false, "report": "json", "scale": -0.5}}"#)
    func report(_ arguments: [String]) async throws -> String {
      let result = try await MPIJob.runAlone(
        program: "gyre", arguments: ["attend"] + random + arguments,
        environment: ["GYRE_SETTINGS": path, "GYRE_VERIFY": "true"])
      #expect(result.isSuccess, "\(result)")
      return result.standardOutput
    }
    let causal = try await report([])
    #expect(
      causal.contains(#""causal":true"#) && causal.contains(#""checkedRows":32"#), "\(causal)")
    let full = try await report(["--causal=false"])
    #expect(full.contains(#""causal":false"#), "\(full)")
  }

  @Test func theInnermostObjectOfTheFileWinsAndListsAreJoined() async throws {
    let path = try file(
      #"""
      {"repeats": 1, "head-dim": 8, "causal": false, "tokens": [64, 128], "format": "json",
       "bench": {"pass": "forward", "format": "csv", "kernel": {"tokens": [16, 32]}}}
      """#)
    let settings = try await explained(["bench", "longnet", "--settings", path])
    #expect(settings["--tokens"] == ["64,128", "tokens in \(path)"])
    #expect(settings["--format"] == ["csv", "bench.format in \(path)"])
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["bench", "kernel", "--settings", path])
    let lines = result.standardOutput.split(separator: "\n")
    let column = lines.first?.split(separator: ",").firstIndex(of: "tokens")
    let tokens = try lines.dropFirst().map { $0.split(separator: ",")[try #require(column)] }
    #expect(tokens == ["16", "32"], "\(result)")
  }

  @Test func valuesMayStartWithADashAndFilesFollowTwo() async throws {
    let negative = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend"] + random, environment: ["GYRE_SCALE": "-inf"])
    #expect(negative.standardError.contains("--scale is -inf"), "\(negative)")
    #expect(negative.standardError.contains("--scale comes from GYRE_SCALE."), "\(negative)")
    // As a word of its own the parser would take this for an option.
    try await expectRefusal([], ["GYRE_LAYOUT": "-x"], ["'-x' is invalid for '--layout"])
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend", "--explain-settings", "--", "--odd.safetensors"],
      environment: ["GYRE_THREADS": "2"])
    #expect(result.standardOutput.contains("GYRE_THREADS"), "\(result)")
  }

  /// A job of three ranks, of which the last two run under `env` with some words of its own.
  private func job(
    _ arguments: [String], _ environment: [String: String] = [:], others words: [String]
  ) async throws -> CommandResult {
    let others = ["env"] + words + [BuiltProducts.executable("gyre")] + arguments
    return try await MPIJob.run(
      program: "gyre", arguments: arguments + [":", "-n", "2"] + others, ranks: 1,
      environment: environment, timeoutSeconds: 20)
  }

  /// On a cluster the ranks of other hosts have none of the variables that rank 0 has.
  @Test func allRanksDoWhatRankZeroFinds() async throws {
    let path = try file(#"{"attend": {"causal": true}}"#)
    let arguments = ["attend"] + random + ["--report", "json", "--verify"]
    let first = try await job(
      arguments, ["GYRE_SETTINGS": path, "GYRE_THREADS": "2"],
      others: ["-u", "GYRE_SETTINGS", "-u", "GYRE_THREADS"])
    #expect(first.isSuccess, "\(first)")
    #expect(first.standardOutput.contains(#""causal":true"#), "\(first)")
    #expect(first.standardOutput.contains(#""threads":2"#), "\(first)")

    let last = try await job(arguments, others: ["GYRE_CAUSAL=true", "GYRE_THREADS=x"])
    #expect(last.isSuccess, "\(last)")
    #expect(last.standardOutput.contains(#""causal":false"#), "\(last)")
  }

  /// Runs alone and on three ranks, and expects one sentence with all of `words`.
  private func expectRefusal(
    _ arguments: [String] = [], _ environment: [String: String], _ words: [String],
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let line = ["attend"] + (arguments.isEmpty ? random : arguments)
    for isAlone in [true, false] {
      let result =
        isAlone
        ? try await MPIJob.runAlone(
          program: "gyre", arguments: line, environment: environment, timeoutSeconds: 20)
        // What is wrong is known to rank 0 alone.
        : try await job(line, environment, others: environment.keys.flatMap { ["-u", $0] })
      #expect(result.ending == .exited(64), "\(result)", sourceLocation: sourceLocation)
      let sentences = result.standardError.split(separator: "\n").filter {
        $0.hasPrefix("gyre: ")
      }
      #expect(sentences.count == 1, "\(result)", sourceLocation: sourceLocation)
      for word in words {
        #expect(
          sentences.first?.contains(word) == true, "'\(word)' is not in \(result)",
          sourceLocation: sourceLocation)
      }
    }
  }

  private func expectRefusal(
    file text: String, _ words: [String], sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    try await expectRefusal(
      [], ["GYRE_SETTINGS": file(text)], ["site.json' of GYRE_SETTINGS"] + words,
      sourceLocation: sourceLocation)
  }

  @Test func filesThatSayWhatNoCommandKnows() async throws {
    try await expectRefusal(
      file: #"{"thraeds": 2}"#, ["'thraeds'", "no option of any command", "'threads'?"])
    try await expectRefusal(
      file: #"{"attend": {"fromat": "csv"}}"#, ["'attend.fromat'", "no option of gyre attend"])
    try await expectRefusal(file: #"{"bench": {"kernel": 3}}"#, ["'bench.kernel'", "a command"])
    try await expectRefusal(file: #"{"help": true}"#, ["'help'"])
  }

  @Test func filesWithValuesOfAWrongType() async throws {
    try await expectRefusal(
      file: #"{"attend": {"causal": "yes"}}"#, ["'attend.causal' as \"yes\"", "true or false"])
    try await expectRefusal(file: #"{"threads": true}"#, ["'threads' as true", "a number"])
    try await expectRefusal(file: #"{"threads": {"attend": 2}}"#, ["'threads' as an object"])
    try await expectRefusal(file: #"{"stream": {"verify": null}}"#, ["'stream.verify' as null"])
    // A word for gyre bench and no flag, so wrong only for the command that runs.
    try await expectRefusal(file: #"{"causal": "both"}"#, ["'causal' as \"both\""])
    try await expectRefusal(file: "[1]", ["a list", "object"])
  }

  /// Foundation's parser keeps one of two equal keys and says nothing.
  @Test func filesThatSayOneThingTwice() async throws {
    try await expectRefusal(
      file: #"{"threads": 2, "threads": 4}"#, ["has 'threads' twice", "line 1", "leave one"])
    try await expectRefusal(
      file: "{\"attend\": {\"causal\": true},\n\"attend\": {\"scale\": 1}}",
      ["has 'attend' twice", "line 2"])
    try await expectRefusal(
      file: #"{"attend": {"wire": "f16", "scale": 1, "w\u0069re": "f32"}}"#,
      ["has 'attend.wire' twice"])
    // The same key in two objects is none, nor is one in a text.
    let path = try file(
      #"{"bench": {"pass": "forward"}, "pass": "both", "attend": {"wire": "f16"}}"#)
    _ = try await explained(["attend"] + random + ["--settings", path])
  }

  @Test func filesThatCannotBeRead() async throws {
    try await expectRefusal(file: #"{"threads": 2"#, ["not JSON", "json.tool"])
    let missing = folder.path + "/missing.json"
    try await expectRefusal([], ["GYRE_SETTINGS": missing], [missing, "No such file"])
    try await expectRefusal([], ["GYRE_SETTINGS": folder.path], [folder.path, "directory"])
    try await expectRefusal([], ["GYRE_SETTINGS": "/dev/zero"], ["/dev/zero", "1 MiB"])
  }

  @Test func errorsSayWhereAValueComesFrom() async throws {
    try await expectRefusal(
      ["input.safetensors"], ["GYRE_RANDOM": "1x8x2x2x8"],
      ["Give only one", "--random comes from GYRE_RANDOM."])
    try await expectRefusal(
      [], ["GYRE_THREADS": "many"], ["'many'", "--threads comes from GYRE_THREADS."])
    try await expectRefusal([], ["GYRE_CAUSAL": "yes"], ["GYRE_CAUSAL is 'yes'", "true or false"])
    let path = try file(#"{"attend": {"backward-route": "kv"}}"#)
    try await expectRefusal(
      [], ["GYRE_SETTINGS": path], ["--backward-route comes from attend.backward-route in \(path)."]
    )
    // Found only when the job runs.
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend"] + random, environment: ["GYRE_WEIGHTS": "1,2"])
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.contains("--weights comes from GYRE_WEIGHTS."), "\(result)")
  }

  @Test func variablesThatLookLikeOptionsAreMentioned() async throws {
    let result = try await MPIJob.run(
      program: "gyre", arguments: ["attend", "--explain-settings"] + random, ranks: 2,
      environment: ["GYRE_THRAEDS": "2", "GYRE_CORES": "2", "GYRE_SITE_PATH": "/opt/gyre"])
    #expect(result.isSuccess, "\(result)")
    let sentence =
      "GYRE_THRAEDS is the name of no option and is not read; do you mean GYRE_THREADS?"
    #expect(result.standardError == "gyre: \(sentence)\n", "\(result)")
    #expect(!result.standardOutput.contains("--threads"), "\(result)")
  }

  @Test func helpIsThereWhateverTheSettings() async throws {
    for arguments in [["attend", "--help"], ["help", "attend"], ["attend", "--version"]] {
      let result = try await MPIJob.runAlone(
        program: "gyre", arguments: arguments,
        environment: ["GYRE_SETTINGS": "/missing", "GYRE_CAUSAL": "yes"])
      #expect(result.isSuccess, "\(result)")
    }
  }
}
