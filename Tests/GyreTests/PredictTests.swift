import Foundation
import TestSupport
import Testing

/// What gyre predict says of jobs whose times follow from their numbers.
@Suite("gyre predict")
struct PredictTests {
  private let machines = ["--flops", "100G", "--network", "10gbit", "--network-latency", "5us"]

  private func predict(_ arguments: [String]) async throws -> CommandResult {
    try await MPIJob.runAlone(program: "gyre", arguments: ["predict"] + arguments)
  }

  private func rows(_ result: CommandResult) throws -> [[String: Any]] {
    #expect(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require((object as? [String: Any])?["results"] as? [[String: Any]])
  }

  @Test("a job that hides its transfers takes its flops")
  func hidden() async throws {
    let rows = try rows(
      try await predict(
        machines + [
          "--tokens", "64K", "--heads", "4", "--ranks", "1,8", "--transport", "ring,hierarchical",
          "--format", "json",
        ]))
    #expect(rows.count == 4)
    let flops = 4.0 * 64 * 4 * 65536 * 65536
    for row in rows {
      let ranks = try #require(row["ranks"] as? Double)
      let seconds = try #require(row["seconds"] as? Double)
      #expect(abs(seconds * ranks * 1e11 / flops - 1) < 1e-9, "\(row)")
      #expect(row["limit"] as? String == "none")
    }
    #expect(rows.last?["bytesSentPerRank"] as? Double == Double(7 * 8192 * 4 * 128 * 4))
  }

  @Test("assumptions are said with the answer")
  func assumptions() async throws {
    let result = try await predict(
      machines + ["--tokens", "4096", "--ranks", "4", "--ranks-per-host", "2", "--noise", "0.02"])
    #expect(result.isSuccess, "\(result)")
    for words in ["100 GFLOP/s", "1.25 GB/s", "5.00 µs", "2 ranks of 1 thread", "vary by 2.0 %"] {
      #expect(result.standardOutput.contains(words), "\(words) in \(result.standardOutput)")
    }
  }

  @Test("a results file gives the speeds")
  func measuredSpeeds() async throws {
    let folder = try TemporaryFolder()
    let kernel = folder.path + "/kernel.json"
    let measured = try await MPIJob.runAlone(
      program: "gyre",
      arguments: [
        "bench", "kernel", "--tokens", "64,128", "--repeats", "1", "--head-dim", "16", "--format",
        "json",
      ])
    try Data(measured.standardOutput.utf8).write(to: URL(filePath: kernel))
    let rows = try rows(
      try await predict([
        "--results", kernel, "--tokens", "128", "--ranks", "1", "--head-dim", "16", "--network",
        "1gbit", "--heads", "2", "--format", "json",
      ]))
    let object = try JSONSerialization.jsonObject(with: Data(measured.standardOutput.utf8))
    let speeds = try #require((object as? [String: Any])?["results"] as? [[String: Any]])
    let speed = speeds.first {
      $0["pass"] as? String == "forward" && $0["causal"] as? Bool == false
        && $0["tokens"] as? Int == 128
    }
    let expected = 4.0 * 16 * 2 * 128 * 128 / (speed?["flopsPerSecond"] as? Double ?? 0)
    #expect(abs((rows[0]["seconds"] as? Double ?? 0) / expected - 1) < 1e-6)
  }

  @Test("LongNet's placements are predicted from their plans")
  func dilated() async throws {
    let rows = try rows(
      try await predict(
        machines + [
          "--tokens", "64K", "--dilated", "geometric:2048,2,6", "--ranks", "8", "--heads", "1",
          "--format", "json",
        ]))
    #expect(rows.compactMap { $0["transport"] as? String } == ["sequence", "units", "rate"])
    #expect(rows.allSatisfy { ($0["seconds"] as? Double ?? 0) > 0 })
    let flops = Set(rows.compactMap { $0["flops"] as? Double })
    #expect(flops.count == 1)
    // Full segments of w tokens select w/r rows each: Σ N/w · (w/r)² · 4 · 64.
    let pairs = (0..<6).reduce(0.0) { sum, power in
      let length = 2048.0 * Double(1 << power)
      return sum + 65536 / length * 2048 * 2048
    }
    #expect(flops.first == pairs * 256)
  }

  @Test("runs are compared with what the model says of them, fitted and unseen")
  func check() async throws {
    let folder = try TemporaryFolder()
    func file(_ name: String, ranks: [Int], factor: Double) throws -> String {
      let rows = ranks.map { ranks in
        // Seconds of 2 · ranks thousand tokens at 50 GFLOP/s.
        """
        {"pass":"forward","ranks":\(ranks),"hosts":\(ranks),"threads":1,"tokens":\(2000 * ranks),\
        "tokensPerRank":2000,"queryHeads":4,"kvHeads":4,"headDim":64,"causal":false,\
        "layout":"contiguous","transport":"ring","wire":"f32",\
        "seconds":\(factor * 4 * 256 * 4e6 * Double(ranks) / 50e9)}
        """
      }
      let text = """
        {"benchmark":"weak","environment":{"cores":8},"keys":["ranks"],\
        "results":[\(rows.joined(separator: ","))]}
        """
      let path = folder.path + "/" + name
      try Data(text.utf8).write(to: URL(filePath: path))
      return path
    }
    let fit = try file("fit.json", ranks: [1, 2, 4], factor: 1)
    let unseen = try file("unseen.json", ranks: [3, 5], factor: 1.1)
    let result = try await predict(
      machines + ["--check", unseen, "--fit", fit, "--format", "json"])
    let rows = try rows(result)
    #expect(rows.count == 5)
    for row in rows {
      let error = try #require(row["error"] as? Double)
      let expected = row["fitted"] as? Bool == true ? 0 : 1 / 1.1 - 1
      #expect(abs(error - expected) < 0.01, "\(row)")
    }
    let text = try await predict(machines + ["--check", unseen, "--fit", fit])
    #expect(text.standardOutput.contains("2 unseen runs: mean error "), "\(text)")
  }

  @Test(
    "mistakes are refused in one sentence",
    arguments: [
      ([], "--tokens"), (["--tokens", "100", "--ranks", "101"], "101"),
      (["--tokens", "4K", "--transport", "auto"], "auto"),
      (["--tokens", "4K", "--transport", "mesh"], "mesh:8x4"),
      (["--tokens", "4K", "--noise", "2"], "--noise"),
      (["--tokens", "4K", "--network", "fast"], "fast"),
      (["--tokens", "4K", "--fit", "x.json"], "--check"),
      (["--tokens", "4K", "--simgrid", "x"], "--simgrid"),
      (["--tokens", "1M", "--dilated", "2048:1", "--ranks", "2000"], "2000"),
    ])
  func mistakes(arguments: [String], words: String) async throws {
    let result = try await predict(machines + arguments)
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
    #expect(result.standardError.contains(words), "\(result)")
  }

  @Test("what is not known is asked for")
  func unknownSpeeds() async throws {
    let kernel = try await predict(["--tokens", "4K", "--network", "1gbit"])
    #expect(kernel.standardError.contains("--flops"), "\(kernel)")
    let network = try await predict(["--tokens", "4K", "--flops", "1G"])
    #expect(network.standardError.contains("--network"), "\(network)")
    let missing = try await predict(["--tokens", "4K", "--results", "/nowhere.json"])
    #expect(missing.standardError.contains("/nowhere.json"), "\(missing)")
  }
}
