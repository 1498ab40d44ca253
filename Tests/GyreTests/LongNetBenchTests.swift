import Foundation
import TestSupport
import Testing

/// That the benchmark measures what it is told and reports it; never how fast that was.
@Suite("gyre bench longnet")
struct LongNetBenchTests {
  private func bench(_ arguments: [String]) async throws -> CommandResult {
    try await MPIJob.runAlone(
      program: "gyre", arguments: ["bench", "longnet", "--repeats", "1"] + arguments)
  }

  private func rows(_ result: CommandResult) throws -> [[String: Any]] {
    #expect(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    let report = try #require(object as? [String: Any])
    #expect(report["environment"] is [String: Any])
    return try #require(report["results"] as? [[String: Any]])
  }

  /// Pairs of all heads by the definition, query by query and key by key.
  private func pairs(
    tokens: Int, branches: [(length: Int, rate: Int)], heads: Int, isCausal: Bool
  ) -> Int {
    var count = 0
    for branch in branches {
      for head in 0..<heads {
        for query in 0..<tokens where query % branch.length % branch.rate == head % branch.rate {
          for key in 0..<tokens where key % branch.length % branch.rate == head % branch.rate {
            if key / branch.length == query / branch.length && (!isCausal || key <= query) {
              count += 1
            }
          }
        }
      }
    }
    return count
  }

  @Test("the JSON report has every field of the contract")
  func json() async throws {
    let results = try rows(
      try await bench([
        "--tokens", "50,120", "--head-dim", "16", "--dense-limit", "50", "--heads", "2",
        "--kv-heads", "1", "--format", "json", "--clock", "cpu",
      ]))
    // Two passes, with and without a mask; dilated twice and dense once.
    #expect(results.count == 12)
    for row in results {
      let isDilated = row["attention"] as? String == "dilated"
      for name in ["tokens", "headDim", "queryHeads", "kvHeads", "threads", "pairs"] {
        #expect(row[name] is Int, "\(name)")
      }
      for name in [
        "seconds", "flops", "flopsPerSecond", "fmaPeakFlopsPerSecond", "fractionOfPeak",
      ] {
        #expect((row[name] as? Double ?? 0) > 0, "\(name)")
      }
      #expect(row["spread"] as? Double == 0 && row["causal"] is Bool)
      #expect(row["clock"] as? String == "cpu")
      #expect((row["branches"] as? String) == (isDilated ? "2048:1" : nil))
      #expect((row["relativeToDense"] as? Double ?? 0 > 0) == isDilated)
      // Dense attention is measured with 50 tokens only.
      #expect((row["timeRatio"] as? Double ?? 0 > 0) == (row["tokens"] as? Int == 120))
      #expect(isDilated || row["tokens"] as? Int == 50)
    }
  }

  @Test("pairs are those of the definition, and flops theirs")
  func pairCounts() async throws {
    let results = try rows(
      try await bench([
        "--tokens", "37,64", "--dilated", "7:2,30:3,100:1", "--heads", "3", "--head-dim", "8",
        "--format", "json",
      ]))
    #expect(results.count == 16)
    for row in results {
      let tokens = try #require(row["tokens"] as? Int)
      let isDilated = row["attention"] as? String == "dilated"
      let expected = pairs(
        tokens: tokens, branches: isDilated ? [(7, 2), (30, 3), (100, 1)] : [(tokens, 1)],
        heads: 3, isCausal: try #require(row["causal"] as? Bool))
      #expect(row["pairs"] as? Int == expected, "\(row)")
      let flopsPerPair = row["pass"] as? String == "forward" ? 32 : 80
      #expect(row["flops"] as? Double == Double(expected * flopsPerPair), "\(row)")
    }
  }

  @Test("by default segments grow to the whole sequence; a given list stays")
  func families() async throws {
    let selection = ["--pass", "forward", "--causal", "true", "--head-dim", "8"]
    let results = try rows(
      try await bench(
        selection + ["--tokens", "2048,2049,9000", "--dense-limit", "0", "--format", "json"]))
    #expect(
      results.map { $0["branches"] as? String } == [
        "2048:1", "2048:1,4096:2", "2048:1,4096:2,8192:4,16384:8",
      ])
    #expect(results.allSatisfy { $0["relativeToDense"] == nil })
    let fixed = try await bench(
      selection + ["--tokens", "10,20", "--dilated", "geometric:8,2,3", "--format", "csv"])
    let lines = fixed.standardOutput.split(separator: "\n")
    #expect(lines.count == 5 && lines[0].hasPrefix("pass,tokens,attention,branches"), "\(fixed)")
    // All cores, since nobody says how many threads.
    let otherMasks = try #require(
      columns(of: lines[0], from: "causal", to: "threads"), "\(lines[0])")
    let end =
      ",8,1,1,true\(String(repeating: ",", count: otherMasks))"
      + "\(ProcessInfo.processInfo.activeProcessorCount),wall,"
    #expect(lines[1].hasPrefix("forward,10,dilated,\"8:1,16:2,32:4\"\(end)"), "\(fixed)")
    #expect(lines[2].hasPrefix("forward,10,dense,\(end)"), "\(fixed)")
    // Nothing to compare with.
    #expect(lines[2].hasSuffix(",,") && lines[4].contains("forward,20,dense"), "\(fixed)")
  }

  @Test("the tables have a row for each result")
  func tables() async throws {
    let selection = ["--tokens", "20", "--pass", "backward", "--causal", "false", "--threads", "2"]
    let markdown = try await bench(selection + ["--format", "markdown"])
    let rows = markdown.standardOutput.split(separator: "\n")
    #expect(rows.count == 4 && rows.allSatisfy { $0.hasPrefix("| ") && $0.hasSuffix(" |") })
    let text = try await bench(selection + ["--dilated", "8:1,16:2,32:4"])
    #expect(text.standardOutput.contains("8:1, … 32:4"), "\(text)")
    #expect(
      text.standardOutput.contains("backward   full         64         2       20   dilated"),
      "\(text)")
  }

  @Test(
    "mistakes are refused in one sentence",
    arguments: [
      ["--tokens", "64,32"], ["--tokens", "0"], ["--dilated", "8"], ["--dense-limit", "-1"],
      ["--heads", "3", "--kv-heads", "2"], ["--repeats", "0"], ["--pass", "sideways"],
      ["--clock", "cpu", "--threads", "2"],
    ])
  func mistakes(arguments: [String]) async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["bench", "longnet"] + arguments)
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
    #expect(result.standardError.contains(arguments[arguments.count - 2]), "\(result)")
  }
}
