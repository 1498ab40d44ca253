import Foundation
import TestSupport
import Testing

/// A benchmark says how long it takes, tells its rows as they are done, and ends in time.
@Suite("Benchmarks under way")
struct BenchProgressTests {
  private static let small = ["--heads", "1", "--head-dim", "8", "--pass", "forward"]

  @Test(
    "each says beforehand on standard error what it measures and how long that takes",
    arguments: [
      ["strong", "--tokens", "64", "--repeats", "2"] + small,
      ["weak", "--tokens", "64", "--repeats", "2"] + small,
      ["overlap", "--tokens", "64", "--repeats", "2"] + small,
      ["memory", "--tokens", "64"] + small, ["link", "--bytes", "8", "--repeats", "2"],
      ["longnet", "--tokens", "64", "--repeats", "1", "--head-dim", "8", "--pass", "forward"],
    ])
  func announcements(arguments: [String]) async throws {
    let result = try await BenchRows.run(arguments, ranks: 2)
    try #require(result.isSuccess, "\(result)")
    let said = result.standardError.split(separator: "\n")
    #expect(said.count == 1, "\(result)")
    #expect(
      said[0].contains(/^gyre: bench \w+: \d+ (comparison|run)s?( of up to 3 rounds)?, .+\.$/),
      "\(result)")
    #expect(said[0].hasPrefix("gyre: bench \(arguments[0]): "), "\(result)")
  }

  @Test("with jsonl a row is written when it is done, whole, also if the run is then killed")
  func killed() async throws {
    let folder = try TemporaryFolder()
    // The second comparison takes minutes; the first has been written long before.
    let script = """
      "$@" >"$0/rows" 2>"$0/words" & pid=$!
      until [ -s "$0/rows" ]; do kill -0 $pid || exit 3; sleep 0.02; done
      kill -9 $pid
      """
    let result = try await Command.run(
      "sh",
      arguments: [
        "-c", script, folder.path, BuiltProducts.executable("gyre"), "bench", "strong", "--tokens",
        "64,131072", "--repeats", "1000", "--precision", "0", "--seconds", "600", "--format",
        "jsonl", "--ranks", "1",
      ] + Self.small, environment: [:], timeoutSeconds: 60)
    #expect(result.isSuccess, "\(result)")
    let rows = String(decoding: try folder.bytes("rows"), as: UTF8.self)
    #expect(rows.hasSuffix("}\n"))
    for line in rows.split(separator: "\n") {
      let row = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      #expect(row?["benchmark"] as? String == "strong")
      #expect((row?["results"] as? [Any])?.count == 1)
    }
  }

  @Test("rows that are written one by one are those of one report")
  func rowByRow() async throws {
    let arguments = ["kernel", "--tokens", "64", "--repeats", "1", "--head-dim", "8,16"]
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["bench"] + arguments + ["--format", "jsonl"])
    try #require(result.isSuccess, "\(result)")
    let lines = result.standardOutput.split(separator: "\n")
    #expect(lines.count == 8 && lines.allSatisfy { $0.contains(#""benchmark":"kernel""#) })
    #expect(result.standardError.hasPrefix("gyre: bench kernel: 8 rows, "), "\(result)")
  }

  @Test("--seconds bounds the whole command, whose comparisons share it")
  func wholeCommand() async throws {
    let tokens = (0..<12).map { "\(1000 + $0)" }.joined(separator: ",")
    let result = try await MPIJob.runAlone(
      program: "gyre",
      arguments: [
        "bench", "strong", "--tokens", tokens, "--repeats", "1000", "--precision", "0", "--seconds",
        "3", "--format", "jsonl",
      ] + Self.small)
    try #require(result.isSuccess, "\(result)")
    // Three seconds for each would be 36.
    #expect(result.seconds < 30, "\(result.seconds)")
    #expect(!result.standardOutput.isEmpty)
  }

  @Test("comparisons that no time is left for are left out, and named")
  func leftOut() async throws {
    let result = try await BenchRows.run(
      [
        "strong", "--tokens", "3000,3001,3002", "--repeats", "1000", "--precision", "0",
        "--seconds", "0.001", "--format", "csv",
      ] + Self.small, ranks: 2)
    try #require(result.isSuccess, "\(result)")
    // A heading, and one and two ranks of the first.
    #expect(result.standardOutput.split(separator: "\n").count == 3, "\(result)")
    #expect(
      result.standardError.contains(
        "of --seconds were over before 2 of 3 comparisons; give more --seconds"), "\(result)")
  }
}
