import Foundation
import TestSupport
import Testing

/// That the benchmark measures what it is told and reports it; never how fast that was.
@Suite("gyre bench kernel")
struct KernelBenchTests {
  private func bench(_ arguments: [String]) async throws -> CommandResult {
    try await MPIJob.runAlone(
      program: "gyre",
      arguments: ["bench", "kernel", "--tokens", "64", "--repeats", "1"] + arguments)
  }

  @Test("the JSON report has every field of the contract")
  func json() async throws {
    let result = try await bench(["--head-dim", "16,32", "--format", "json", "--dtype", "f32,bf16"])
    #expect(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    let report = try #require(object as? [String: Any])
    #expect(report["environment"] is [String: Any])
    let results = try #require(report["results"] as? [[String: Any]])
    // Two passes, two head dims, with and without a mask, two types.
    #expect(results.count == 16)
    #expect(Set(results.compactMap { $0["pass"] as? String }) == ["forward", "backward"])
    for row in results {
      for name in ["headDim", "tokens", "queries", "queryHeads", "kvHeads", "threads"] {
        #expect(row[name] is Int, "\(name)")
      }
      for name in [
        "seconds", "flopsPerSecond", "fmaPeakFlopsPerSecond", "fractionOfPeak", "bytesPerSecond",
        "memoryBandwidthBytesPerSecond", "fractionOfBandwidth",
      ] {
        #expect((row[name] as? Double ?? 0) > 0, "\(name)")
      }
      #expect(row["causal"] is Bool && row["dtype"] is String)
      #expect(row["reproducible"] as? Bool == false)
    }
  }

  @Test("copies are computed at the same time, and the rows tell the mean from the slowest")
  func copies() async throws {
    let result = try await bench([
      "--pass", "forward", "--head-dim", "16", "--causal", "true", "--copies", "1,2", "--format",
      "json",
    ])
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    let rows = try #require((object as? [String: Any])?["results"] as? [[String: Any]], "\(result)")
    #expect(rows.map { $0["copies"] as? Int } == [1, 2])
    for row in rows {
      let mean = try #require(row["flopsPerSecond"] as? Double)
      let slowest = try #require(row["slowestFlopsPerSecond"] as? Double)
      let seconds = try #require(row["seconds"] as? Double)
      // Two heads, 64 · 65 / 2 pairs of 4 · 16 flops, of one copy.
      #expect(abs(slowest * seconds / (2 * 2080 * 64) - 1) < 1e-9, "\(row)")
      #expect(row["copies"] as? Int == 1 ? mean == slowest : mean > slowest, "\(row)")
    }
    let table = try await bench(["--head-dim", "8", "--pass", "forward", "--copies", "2"])
    #expect(table.standardOutput.contains("2 × 1"), "\(table)")
    #expect(table.standardOutput.contains("n × t threads: n copies at the same time"))
  }

  @Test("few queries are the last of the sequence, and the table speaks of memory")
  func fewQueries() async throws {
    let selection = ["--pass", "forward", "--head-dim", "16", "--heads", "1", "--kv-heads", "1"]
    let result = try await bench(
      selection + ["--queries", "2", "--causal", "true", "--format", "json"])
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    let results = (object as? [String: Any])?["results"] as? [[String: Any]]
    let row = try #require(results?.first)
    #expect(row["queries"] as? Int == 2)
    let seconds = try #require(row["seconds"] as? Double)
    func number(_ name: String) -> Double { (row[name] as? Double ?? 0) * seconds }
    // 63 + 64 visible pairs of 4 · 16 flops, 64 keys of 2 · 16 floats.
    #expect(abs(number("flopsPerSecond") - Double(127 * 64)) < 1)
    #expect(abs(number("bytesPerSecond") - Double(64 * 32 * 4)) < 1)
    let few = try await bench(selection + ["--queries", "1"])
    #expect(few.standardOutput.contains("of memory"), "\(few)")
    let many = try await bench(selection)
    #expect(!many.standardOutput.contains("of memory"), "\(many)")
  }

  @Test("selections select, and each format has a row for each result")
  func formats() async throws {
    let selection = ["--pass", "backward", "--head-dim", "8", "--causal", "true"]
    let csv = try await bench(selection + ["--format", "csv"])
    let lines = csv.standardOutput.split(separator: "\n")
    #expect(lines.count == 2 && lines[0].hasPrefix("pass,headDim,tokens"), "\(csv)")
    let otherMasks = try #require(columns(of: lines[0], from: "causal", to: "dtype"), "\(csv)")
    let start = "backward,8,64,64,2,2,true\(String(repeating: ",", count: otherMasks))f32,1,"
    #expect(lines.last?.hasPrefix(start) == true, "\(csv)")
    let reproducible = try await bench(selection + ["--format", "csv", "--reproducible"])
    #expect(reproducible.standardOutput.contains("\(start)true,"))
    let markdown = try await bench(selection + ["--format", "markdown"])
    let rows = markdown.standardOutput.split(separator: "\n")
    #expect(rows.count == 3 && rows.allSatisfy { $0.hasPrefix("| ") && $0.hasSuffix(" |") })
    let text = try await bench(selection)
    #expect(text.standardOutput.contains("backward   causal          8"), "\(text)")
  }

  @Test(
    "mistakes are refused in one sentence",
    arguments: [
      ["--pass", "sideways"], ["--head-dim", "0"], ["--head-dim", "64,"], ["--dtype", "f64"],
      ["--threads", "x"], ["--heads", "3", "--kv-heads", "2"], ["--format", "xml"],
      ["--causal", "perhaps"], ["--repeats", "0"], ["--queries", "0"], ["--queries", "65"],
      ["--copies", "0"], ["--copies", "1000"],
    ])
  func mistakes(arguments: [String]) async throws {
    let result = try await bench(arguments)
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
    #expect(result.standardError.contains(arguments[arguments.count - 2]), "\(result)")
  }
}
