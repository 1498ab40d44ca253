import Foundation
import TestSupport
import Testing

/// That scaling is measured as told and reported; never how fast that was.
@Suite("gyre bench strong, weak and overlap")
struct ScalingBenchTests {
  private let small = ["--heads", "2", "--head-dim", "16", "--repeats", "2"]
  private let numbers = [
    "repeats", "seconds", "secondsLow", "secondsHigh", "slowestRankSeconds", "medianRankSeconds",
    "fastestRankSeconds", "computeSeconds", "flops", "flopsPerSecond", "speedup", "efficiency",
  ]

  @Test("strong scaling has every field, of powers of two of ranks and all")
  func strong() async throws {
    let report = try await BenchRows(
      ["strong", "--tokens", "301", "--causal", "both", "--layout", "contiguous"] + small, ranks: 3)
    report.expectKeysTellRowsApart()
    report.expectPositive(numbers + ["computeOnlySeconds", "efficiencyWithoutContention"])
    let count = 2 * 2 * 3
    #expect(report.rows.count == count)
    #expect(report.environment["oversubscribed"] is Bool)
    for row in report.rows {
      let ranks = try #require(row["ranks"] as? Int)
      #expect([1, 2, 3].contains(ranks) && row["hosts"] as? Int == 1)
      #expect(row["tokens"] as? Int == 301 && row["tokensPerRank"] as? Int == (300 + ranks) / ranks)
      #expect(row["repeats"] as? Int == 2 && row["baseline"] as? String == "1 rank, same job")
      let pairs = row["causal"] as? Bool == true ? 301 * 302 / 2 : 301 * 301
      let flops = pairs * 2 * 16 * (row["pass"] as? String == "forward" ? 4 : 10)
      #expect(row["flops"] as? Double == Double(flops), "\(row)")
      if ranks == 1 {
        for name in ["speedup", "efficiency", "efficiencyWithoutContention"] {
          #expect(row[name] as? Double == 1)
        }
      }
    }
  }

  @Test("bytes are the ring's, and the ranks of a row only those that take part")
  func bytes() async throws {
    let report = try await BenchRows(
      [
        "weak", "--tokens", "96", "--causal", "false", "--pass", "forward", "--wire", "f32,bf16",
        "--ranks", "4,1", "--transport", "ring",
      ] + small, ranks: 4)
    report.expectPositive(numbers)
    #expect(report.rows.count == 4)
    for row in report.rows {
      let ranks = try #require(row["ranks"] as? Int)
      #expect(row["tokens"] as? Int == 96 * ranks && row["tokensPerRank"] as? Int == 96)
      let element = row["wire"] as? String == "bf16" ? 2 : 4
      #expect(row["bytesSentPerRank"] as? Int == (ranks - 1) * 96 * 2 * 32 * element, "\(row)")
      #expect(row["messagesPerRank"] as? Int == ranks - 1)
    }
  }

  @Test("efficiency is of the rate, and what a rank takes is what it computes and waits")
  func splits() async throws {
    let report = try await BenchRows(
      ["weak", "--tokens", "200", "--ranks", "1,4", "--pass", "forward", "--repeats", "1"]
        + small.prefix(4), ranks: 4)
    let rate = { (row: [String: Any]) -> Double in
      (row["flopsPerSecond"] as? Double ?? 0) / Double(row["ranks"] as? Int ?? 1)
    }
    let row = try #require(report.rows.last)
    let value = { (name: String) in row[name] as? Double ?? -1 }
    #expect(row["ranks"] as? Int == 4)
    // One round: medians are its numbers.
    #expect(abs(value("efficiency") * rate(report.rows[0]) / rate(row) - 1) < 1e-9)
    #expect(abs(value("speedup") / value("efficiency") - 4) < 1e-9)
    #expect(value("seconds") == value("slowestRankSeconds"))
    #expect(value("fastestRankSeconds") <= value("medianRankSeconds"))
    #expect(value("medianRankSeconds") <= value("slowestRankSeconds"))
    #expect(value("computeSeconds") + value("exposedSeconds") <= value("seconds"))
    #expect(value("imbalanceSeconds") >= 0)
    #expect(value("computeSeconds") + value("imbalanceSeconds") <= value("seconds"))
  }

  @Test("where ranks share heads there is no control, and null says so")
  func heads() async throws {
    let report = try await BenchRows(
      [
        "strong", "--tokens", "64", "--pass", "backward", "--transport", "heads,auto", "--ranks",
        "4",
      ]
        + small, ranks: 4)
    report.expectPositive(numbers)
    #expect(report.rows.map { $0["transport"] as? String } == ["heads", "auto"])
    #expect(report.rows.map { $0["chosenTransport"] as? String } == ["heads", "shared"])
    #expect(report.rows[0]["computeOnlySeconds"] is NSNull)
    #expect(report.rows[0]["efficiencyWithoutContention"] is NSNull)
    #expect(report.rows[1]["computeOnlySeconds"] is Double)
    #expect(report.rows[1]["baseline"] as? String == "4 ranks, same job")
  }

  @Test("overlap has the parts of each pass; tables have a row for each result")
  func overlap() async throws {
    let report = try await BenchRows(
      ["overlap", "--tokens", "90,300", "--transport", "ring,heads"] + small, ranks: 3)
    report.expectKeysTellRowsApart()
    #expect(report.rows.count == 8)
    report.expectPositive(["seconds", "noOverlapSeconds", "bytesSentPerRank", "flopsPerSecond"])
    let rings = report.rows.filter { $0["transport"] as? String == "ring" }
    report.expectPositive(
      ["computeOnlySeconds", "transferSeconds", "ratioToComputeOnly"], in: rings)
    #expect(rings.allSatisfy { (0...1).contains($0["hiddenFraction"] as? Double ?? -1) })
    let others = report.rows.filter { $0["transport"] as? String == "heads" }
    #expect(others.allSatisfy { $0["hiddenFraction"] is NSNull })
    let table = try await BenchRows.run(
      ["overlap", "--tokens", "90", "--format", "markdown"] + small, ranks: 3)
    let lines = table.standardOutput.split(separator: "\n")
    #expect(lines.count == 4 && lines.allSatisfy { $0.hasPrefix("| ") }, "\(table)")
    #expect(table.standardError.hasPrefix("gyre: bench overlap: 1 comparison "), "\(table)")
    let text = try await BenchRows.run(
      ["overlap", "--tokens", "90", "--pass", "forward"] + small, ranks: 2)
    #expect(
      text.standardOutput.contains(
        /\nTransfers take [0-9.,]+ times the computing: .+ be hidden\.\n/),
      "\(text)")
    let csv = try await BenchRows.run(
      ["strong", "--tokens", "90", "--pass", "forward", "--format", "csv"] + small, ranks: 3)
    let rows = csv.standardOutput.split(separator: "\n").map { $0.split(separator: ",") }
    #expect(rows.count == 4 && rows[0].prefix(2) == ["pass", "ranks"], "\(csv)")
  }

  @Test("what is not named is as attend has it: transport and layout")
  func defaults() async throws {
    let report = try await BenchRows(
      ["strong", "--tokens", "64", "--causal", "both", "--pass", "forward", "--ranks", "2"] + small,
      ranks: 2)
    #expect(report.rows.map { $0["transport"] as? String } == ["auto", "auto"])
    #expect(report.rows.map { $0["chosenTransport"] as? String } == ["shared", "shared"])
    #expect(report.rows.map { $0["layout"] as? String } == ["contiguous", "zigzag"])
  }

  @Test("rounds end when time is over")
  func bounds() async throws {
    let report = try await BenchRows(
      [
        "strong", "--tokens", "2000", "--heads", "2", "--pass", "forward", "--repeats", "1000",
        "--precision", "0", "--seconds", "0.2",
      ], ranks: 1)
    let repeats = try #require(report.rows.first?["repeats"] as? Int)
    #expect((1..<1000).contains(repeats))
  }

  @Test(
    "what cannot be measured is refused in one sentence, which all ranks end with",
    arguments: [
      (["strong", "--ranks", "2,4"], 3, "mpirun -n 4"),
      (["weak", "--transport", "mesh:2x1"], 3, "mesh of 2x1 needs"),
      (["overlap"], 1, "mpirun -n 2"), (["link"], 1, "mpirun -n 2"),
      (["strong", "--tokens", "16777216", "--heads", "4096"], 1, "fewer --tokens"),
    ])
  func refusals(arguments: [String], ranks: Int, remedy: String) async throws {
    let result = try await BenchRows.run(arguments, ranks: ranks)
    #expect(!result.isSuccess && result.standardOutput.isEmpty, "\(result)")
    let said = result.standardError.split(separator: "\n").filter { $0.hasPrefix("gyre: ") }
    #expect(said.count == 1 && said[0].contains(remedy), "\(result)")
  }

  @Test(
    "mistakes in options are refused",
    arguments: [
      ["strong", "--tokens", "0"], ["strong", "--ranks", "0"], ["weak", "--transport", "pigeon"],
      ["weak", "--heads", "3", "--kv-heads", "2"], ["overlap", "--precision", "-1"],
      ["overlap", "--seconds", "0"], ["link", "--bytes", "0"], ["strong", "--threads", "0"],
      ["memory", "--tokens", "64,32"], ["strong", "--layout", "diagonal"],
      ["strong", "--heads", "9223372036854775807"], ["kernel", "--heads", "65537"],
      ["longnet", "--heads", "0"],
      ["kernel", "--columns", "time", "--format", "csv"],
    ])
  func mistakes(arguments: [String]) async throws {
    let result = try await MPIJob.runAlone(program: "gyre", arguments: ["bench"] + arguments)
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.contains(arguments[1]), "\(result)")
  }
}
