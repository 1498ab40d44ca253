import Foundation
import TestSupport
import Testing

/// Verdicts on known ratios, exit codes, and what is said about files that do not fit together.
@Suite("gyre compare")
struct CompareTests {
  private let folder: TemporaryFolder
  private static let keys = ["pass", "tokens"]

  init() throws { folder = try TemporaryFolder() }

  /// A file with a row for each number of tokens.
  private func file(
    _ name: String, _ times: [Int: Double], width: Double = 0.01, environment: [String: Any] = [:]
  ) throws -> String {
    let rows = times.sorted { $0.key < $1.key }.map {
      ResultsFixture.row(
        ["pass": "forward", "tokens": $0.key], ResultsFixture.seconds($0.value, width: width))
    }
    return try folder.text(
      name,
      try ResultsFixture.text("kernel", keys: Self.keys, rows, environment: environment))
  }

  private func compare(_ arguments: String...) async throws -> CommandResult {
    try await MPIJob.runAlone(program: "gyre", arguments: ["compare"] + arguments)
  }

  private func object(_ result: CommandResult) throws -> [String: Any] {
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require(object as? [String: Any], "\(result)")
  }

  @Test("rows are slower, the same or faster by ratio, interval and noise; the worst comes first")
  func verdicts() async throws {
    let before = try file("a.json", [1: 1, 2: 1, 3: 1, 4: 1])
    let after = try file("b.json", [1: 0.5, 2: 1.015, 3: 1.25, 4: 1.04])
    let result = try await compare(before, after, "--format", "json")
    #expect(result.ending == .exited(1), "\(result)")
    #expect(result.standardError.contains("3 tokens (1.25 times as long)"), "\(result)")
    #expect(!result.standardError.contains("4 tokens"), "\(result)")
    let report = try object(result)
    let rows = try #require(report["rows"] as? [[String: Any]])
    #expect(rows.compactMap { $0["tokens"] as? Int } == [3, 4, 2, 1])
    #expect(rows.compactMap { $0["verdict"] as? String } == ["slower", "slower", "same", "faster"])
    #expect(rows.compactMap { $0["isRegression"] as? Bool } == [true, false, false, false])
    let first = rows[0]
    #expect(abs((first["ratio"] as? Double ?? 0) - 1.25) < 1e-12)
    #expect(abs((first["ratioLow"] as? Double ?? 0) - 1.25 * 0.99 / 1.01) < 1e-12)
    #expect(abs((first["ratioHigh"] as? Double ?? 0) - 1.25 * 1.01 / 0.99) < 1e-12)
    let mean = pow(0.5 * 1.015 * 1.25 * 1.04, 0.25)
    #expect(abs((report["meanRatio"] as? Double ?? 0) - mean) < 1e-12)
    #expect(try await compare(before, after, "--threshold", "0.3").ending == .exited(0))
    let loud = try await compare(before, after, "--noise", "0.3")
    #expect(loud.ending == .exited(0) && loud.standardOutput.contains("0 slower, 3 same, 1 faster"))
  }

  @Test("a slowdown that the intervals allow to be none is no regression")
  func withinIntervals() async throws {
    let before = try file("a.json", [1: 1], width: 0.2)
    let after = try file("b.json", [1: 1.3], width: 0.2)
    let result = try await compare(before, after)
    #expect(result.isSuccess && result.standardOutput.contains("0 slower, 1 same"), "\(result)")
    let sure = try await compare(try file("c.json", [1: 1]), try file("d.json", [1: 1.3]))
    #expect(sure.ending == .exited(1), "\(sure)")
  }

  @Test("names only what differs, what one file lacks, and how the environments differ")
  func words() async throws {
    let before = try file("a.json", [1: 1, 2: 1, 7: 1])
    let after = try file(
      "b.json", [1: 1, 2: 2, 9: 1], environment: ["cores": 16, "commit": "fedcba9876543210"])
    let result = try await compare(before, after)
    let text = result.standardOutput
    #expect(text.contains("cores 8 → 16; commit 012345678 → fedcba987"), "\(result)")
    #expect(text.contains("Different machines"), "\(result)")
    #expect(text.contains("Only in \(before): 1 (7 tokens)."), "\(result)")
    #expect(text.contains("Only in \(after): 1 (9 tokens)."), "\(result)")
    #expect(text.contains("slower !   2 tokens   1.00 s   2.00 s   2.000"), "\(result)")
    #expect(!text.contains("forward"), "\(result)")
    #expect(result.standardError.contains("The machines differ"), "\(result)")
    let same = try await compare(before, before)
    #expect(same.isSuccess && same.standardOutput.contains("the same environment"), "\(same)")
  }

  @Test("lines, joined files and rows measured again are read; each format has a row for each")
  func forms() async throws {
    let one = try file("a.json", [1: 1, 2: 1])
    let two = try file("b.json", [1: 3])
    let texts = try ["a.json", "b.json"].map {
      String(decoding: try folder.bytes($0), as: UTF8.self)
    }
    let joined = try folder.text("joined.jsonl", texts.joined(separator: "\n\n"))
    let result = try await compare(joined, two)
    #expect(result.isSuccess && result.standardOutput.contains("1.000"), "\(result)")
    #expect(result.standardOutput.contains("measured again further down (1)"), "\(result)")
    for (format, lines) in [("csv", 3), ("jsonl", 2)] {
      let rows = try await compare(one, one, "--format", format)
      #expect(rows.standardOutput.split(separator: "\n").count == lines, "\(rows)")
    }
    let markdown = try await compare(one, one, "--format", "markdown")
    #expect(markdown.standardOutput.contains("\n| same | 2 tokens | 1.00 s |"), "\(markdown)")
  }

  @Test("what cannot be compared is refused in one sentence with code 64")
  func refusals() async throws {
    let good = try file("good.json", [1: 1])
    let cases: [(name: String, text: String, words: String)] = [
      ("empty.json", "", "has no results"),
      ("table.csv", "pass,tokens\nforward,1\n", "line 1, is no JSON object"),
      (
        "cut.json",
        "\n" + String(decoding: try folder.bytes("good.json").dropLast(9), as: UTF8.self),
        "begins in line 2"
      ),
      ("broken.json", "{\"benchmark\": }", "broken JSON"),
      (
        "twice.json", "{\"benchmark\": \"a\"}\n{\"benchmark\": \"b\",\n \"benchmark\": \"c\"}",
        "has 'benchmark' twice in the same object, the second time in line 3"
      ),
      ("attend.json", "{\"seconds\": 3}", "no results file (it has no benchmark, keys, results)"),
      ("strong.json", try ResultsFixture.scaling("strong", ranks: [1]), "no timed row in common"),
      (
        "null.json",
        try ResultsFixture.text(
          "kernel", keys: Self.keys, [["pass": "forward", "tokens": 1, "seconds": NSNull()]]),
        "no timed row in common"
      ),
    ]
    for refused in cases {
      let result = try await compare(good, try folder.text(refused.name, refused.text))
      #expect(result.ending == .exited(64), "\(refused.name): \(result)")
      #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
      #expect(result.standardError.contains(refused.words), "\(result)")
      #expect(result.standardError.contains(refused.name), "\(result)")
    }
    let missing = try await compare(good, folder.path + "/missing.json")
    #expect(missing.ending == .exited(64) && missing.standardError.contains("there is no file"))
    for option in ["--threshold", "--noise"] {
      let result = try await compare(good, good, "\(option)=-1")
      #expect(result.ending == .exited(64) && result.standardError.contains(option), "\(result)")
    }
  }
}
