import Foundation
import TestSupport
import Testing

/// No number on a command line traps: what cannot be served is refused with a sentence.
@Suite("Absurd numbers")
struct AbsurdNumberTests {
  /// Command lines that run for a moment; of an option that is tried, the one here is left out.
  static let commands: [[String]] = [
    ["attend", "--random=1x64x2x1x8", "--gradients"], ["doctor"],
    ["stream", "--random=1x64x2x1x8", "--dilated=8:1"],
    ["bench kernel", "--tokens=64", "--head-dim=8", "--repeats=1", "--pass=forward"],
    ["bench longnet", "--tokens=64", "--head-dim=8", "--repeats=1", "--pass=forward"],
    ["bench strong", "--tokens=64", "--head-dim=8", "--repeats=1", "--pass=forward"],
    ["bench weak", "--tokens=64", "--head-dim=8", "--repeats=1", "--pass=forward"],
    ["bench overlap", "--tokens=64", "--head-dim=8", "--repeats=1", "--pass=forward"],
    ["bench memory", "--tokens=64", "--head-dim=8", "--pass=forward"],
    ["bench link", "--bytes=8", "--repeats=1"],
    ["predict", "--tokens=4096", "--flops=80G", "--network=10gbit", "--ranks=4"],
    ["predict", "--tokens-per-rank=64", "--flops=80G", "--network=10gbit", "--hosts=2"],
  ]

  private static let values = ["4611686018427387904", "9223372036854775807", "-1", "0"]

  /// Where numbers stand in options that take more than one.
  private static let forms: [String: [String]] = [
    "random": ["@x4x2x1x8", "1x@x2x1x8", "1x4x@x1x8", "1x4x@x@x8", "1x4x2x1x@", "1x4x2x1x8x@"],
    "dilated": ["@:1", "8:@", "geometric:@,2,3", "geometric:8,@,3", "geometric:8,2,@"],
    "mesh": ["@x1", "1x@"], "transport": ["mesh:@x1", "mesh:1x@", "mesh:@x@"], "weights": ["@,@"],
  ]

  /// Options that name files or words.
  private static let others: Set<String> = [
    "settings", "output", "checkpoint", "trace", "q", "k", "v", "do", "names", "results", "check",
    "fit", "simgrid", "columns", "format", "report", "input-layout", "layout", "wire", "dtype",
    "pass", "causal", "map-by", "backward-route", "head-offset", "placement", "clock", "kind",
    "branch-weights-gradient",
  ]

  /// The options of a command that take a value, from the program's own list.
  private func options(of command: String) async throws -> [String] {
    let dump = try await MPIJob.runAlone(program: "gyre", arguments: ["--experimental-dump-help"])
    let object = try JSONSerialization.jsonObject(with: Data(dump.standardOutput.utf8))
    var found = try #require((object as? [String: Any])?["command"] as? [String: Any])
    for word in command.split(separator: " ") {
      let subcommands = found["subcommands"] as? [[String: Any]] ?? []
      found = try #require(subcommands.first { $0["commandName"] as? String == String(word) })
    }
    let arguments = found["arguments"] as? [[String: Any]] ?? []
    return arguments.filter { $0["kind"] as? String == "option" }.compactMap { argument in
      (argument["names"] as? [[String: Any]])?.first { $0["kind"] as? String == "long" }?["name"]
        as? String
    }
  }

  @Test("every option that takes a number", arguments: commands)
  func numbers(command: [String]) async throws {
    let options = try await options(of: command[0]).filter { !Self.others.contains($0) }
    #expect(!options.isEmpty)
    var lines: [String] = []
    for option in options {
      let rest = command.dropFirst().filter { !$0.hasPrefix("--\(option)=") }
      for form in Self.forms[option] ?? ["@"] {
        for value in Self.values {
          let tried = "--\(option)=\(form.replacing("@", with: value))"
          lines.append(([command[0]] + rest + [tried]).joined(separator: " "))
        }
      }
    }
    try await expectNoTrap(lines)
  }

  @Test("sizes that are allowed one by one and too much together")
  func together() async throws {
    try await expectNoTrap(
      [
        "bench kernel --tokens=16777216 --heads=65536 --kv-heads=1 --head-dim=576",
        "bench longnet --tokens=16777216 --heads=65536",
        "bench strong --tokens=16777216 --heads=65536 --head-dim=1",
        "bench memory --tokens=16777216 --heads=65536 --head-dim=1",
        "attend --random=1x4503599627370496x4x4x64 --gradients --transport=ring",
        "attend --random=1x9007199254740992x65536x1x1", "attend --random=1x34359738368x1x1x1",
        "stream --random=1x4503599627370496x4x4x64 --dilated=1099511627776:1,64:1",
        "predict --tokens-per-rank=1024G --hosts=2 --flops=80G --network=10gbit",
        "predict --tokens=1024G --heads=65536 --head-dim=576 --flops=80G --network=10gbit",
      ], refused: true)
    try await expectNoTrap([
      "predict --tokens=1024G --heads=32768 --head-dim=1 --value-head-dim=576 --pass=backward "
        + "--transport=all --flops=80G --network=10gbit --ranks=7"
    ])
  }

  /// Runs command lines two at a time, and expects of each an exit code of its own and, where
  /// it has not served the number, a sentence.
  private func expectNoTrap(_ lines: [String], refused: Bool = false) async throws {
    let folder = try TemporaryFolder()
    let list = try folder.file("lines", Array(lines.joined(separator: "\n").utf8) + [10])
    let script = """
      mkdir -p "$1/$$"
      OMPI_MCA_orte_tmpdir_base="$1/$$" timeout 20 "$0" $2 >/dev/null 2>"$1/err.$$" </dev/null
      echo "$? $(grep -c '^gyre: ' "$1/err.$$") $2"
      """
    let result = try await Command.run(
      "xargs",
      arguments: [
        "--arg-file", list, "--delimiter", "\\n", "--max-args", "1", "--max-procs", "2", "sh", "-c",
        script, BuiltProducts.executable("gyre"), folder.path,
      ],
      environment: QuickStart.alone, timeoutSeconds: 300)
    let answers = result.standardOutput.split(separator: "\n")
    #expect(answers.count == lines.count, "\(result)")
    for answer in answers {
      let words = answer.split(separator: " ", maxSplits: 2)
      let code = try #require(Int(words[0]))
      #expect([0, 1, 64].contains(code), "\(answer)")
      #expect(code == 0 || words[1] != "0", "\(answer)")
      if refused { #expect(code == 64, "\(answer)") }
    }
  }
}
