import Foundation
import TestSupport
import Testing

/// Tables that fit a terminal, and the columns that are asked for.
@Suite("Tables")
struct TableTests {
  private let job = [
    "predict", "--flops", "80G", "--network", "1gbit", "--tokens", "4K", "--ranks", "1,4",
  ]

  /// Runs on a terminal of so many columns.
  private func onTerminal(columns: Int, _ command: [String], before: String = "") async throws
    -> [Substring]
  {
    let words = command.map { "'\($0)'" }.joined(separator: " ")
    let result = try await Command.run(
      "script", arguments: ["-qec", "stty cols \(columns); \(before)\(words)", "/dev/null"],
      timeoutSeconds: 60)
    try #require(result.isSuccess, "\(result)")
    return result.standardOutput.split(whereSeparator: \.isNewline)
  }

  @Test("a terminal gets what it has room for, anything else all")
  func terminal() async throws {
    let gyre = BuiltProducts.executable("gyre")
    func header(_ lines: [Substring]) -> Substring? {
      lines.first { $0.contains("time ") && $0.contains("efficiency") }
    }
    let narrow = try await onTerminal(columns: 80, [gyre] + job)
    let first = try #require(header(narrow))
    #expect(first.count <= 80 && !first.contains("memory a rank"), "\(narrow)")
    #expect(narrow.contains { $0.hasPrefix("In all rows: pass forward, ") })
    let told = try await onTerminal(columns: 80, [gyre] + job, before: "COLUMNS=300 ")
    #expect(try #require(header(told)).contains("memory a rank"))
    let all = try await onTerminal(columns: 80, [gyre] + job + ["--columns", "all"])
    #expect(try #require(header(all)).contains("memory a rank"))
    let pipe = try await MPIJob.runAlone(
      program: "gyre", arguments: job, environment: ["COLUMNS": "60"])
    #expect(pipe.standardOutput.contains("memory a rank"), "\(pipe)")
  }

  @Test("under mpirun its terminal counts, which ranks do not have themselves")
  func job() async throws {
    let root = geteuid() == 0 ? ["--allow-run-as-root"] : []
    let lines = try await onTerminal(
      columns: 90,
      ["mpirun"] + root + [
        "--oversubscribe", "-n", "2", BuiltProducts.executable("gyre"), "bench", "strong",
        "--tokens", "64", "--heads", "1", "--repeats", "1",
      ])
    let header = try #require(lines.first { $0.contains("speedup") })
    #expect(header.count <= 90 && !header.contains("compute only"), "\(lines)")
  }

  @Test("columns are those asked for, in their order")
  func columns() async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre",
      arguments: job + ["--columns", "Time,ranks,lost-to", "--format", "markdown"])
    #expect(result.standardOutput.hasPrefix("| time | ranks | lost to |\n"), "\(result)")
  }

  @Test(
    "columns that a table does not have are refused",
    arguments: ["kernel", "longnet", "strong", "weak", "overlap", "link", "memory", "mix"])
  func unknownColumns(benchmark: String) async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["bench", benchmark, "--columns", "time,tempo"])
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.contains("no column 'tempo'; give some of "), "\(result)")
  }

  @Test("every option of the benchmarks and of predict says what it is without")
  func defaults() async throws {
    // What an absent option means is nothing at all.
    let without: Set = [
      "tokens-per-rank", "hosts", "output", "dilated", "simgrid", "check", "fit", "results",
      "model",
    ]
    let dump = try await MPIJob.runAlone(
      program: "gyre", arguments: ["--experimental-dump-help"])
    let object = try JSONSerialization.jsonObject(with: Data(dump.standardOutput.utf8))
    func commands(_ command: [String: Any]) -> [[String: Any]] {
      [command] + (command["subcommands"] as? [[String: Any]] ?? []).flatMap(commands)
    }
    let root = try #require((object as? [String: Any])?["command"] as? [String: Any])
    let measuring = ["kernel", "longnet", "strong", "weak", "overlap", "link", "memory", "predict"]
    let found = commands(root).filter { measuring.contains($0["commandName"] as? String ?? "") }
    #expect(found.count == measuring.count)
    for command in found {
      let name = command["commandName"] as? String ?? ""
      for argument in command["arguments"] as? [[String: Any]] ?? []
      where argument["kind"] as? String == "option" {
        let option = argument["valueName"] as? String ?? ""
        let names = (argument["names"] as? [[String: Any]] ?? []).compactMap {
          $0["name"] as? String
        }
        if names.contains(where: without.contains) || names == ["tokens"] && name == "predict" {
          continue
        }
        let text = argument["abstract"] as? String ?? ""
        #expect(text.contains("default: "), "\(name): \(names) \(option)")
      }
    }
  }
}
