import Foundation
import TestSupport
import Testing

/// That operators are measured and predicted as told and reported; never how fast that was.
@Suite("gyre bench mix, and --mixer")
struct MixBenchTests {
  @Test("lengths and numbers of ranks of an operator, and attention up to its limit")
  func mix() async throws {
    let report = try await BenchRows(
      [
        "mix", "sima,cosformer+causal,rwkv4", "--tokens", "96,384", "--repeats", "2", "--sizes",
        "heads=2,headDim=16,channels=130", "--attention-limit", "96", "--threads", "1",
      ], ranks: 3)
    report.expectKeysTellRowsApart()
    report.expectPositive([
      "repeats", "seconds", "secondsLow", "secondsHigh", "tokensPerSecond", "flops",
      "flopsPerSecond", "fmaPeakFlopsPerSecond", "leastBytes", "memoryBandwidthBytesPerSecond",
      "fractionOfBound", "computeSeconds",
    ])
    // Ranks 1, 2 and 3, both passes.
    #expect(report.rows.count == 3 * 2 * 2 * 3 + 2 * 3)
    for row in report.rows {
      let (ranks, tokens) = (row["ranks"] as? Int ?? 0, row["tokens"] as? Int ?? 0)
      let (mixer, pass) = (row["mixer"] as? String, row["pass"] as? String)
      #expect((row["timeRatio"] is NSNull) == (tokens == 96), "\(row)")
      #expect(row["causal"] as? Bool == (mixer == "cosformer" || mixer == "attention"))
      let bytes = try #require(row["bytesSentPerRank"] as? Int)
      if ranks == 1 { #expect(bytes == 0) }
      if mixer == "rwkv4", pass == "forward", ranks > 1 {
        // Three numbers of each of 130 channels, in blocks of 16.
        #expect(bytes == 130 * 12 && row["messagesPerRank"] as? Int == 9, "\(row)")
        let numbers = 4 * tokens * 130 + 2 * 130 + 390
        #expect(row["leastBytes"] as? Double == Double(4 * numbers), "\(row)")
      }
      if mixer == "sima", pass == "forward", ranks == 2 {
        // 2 (P − 1) / P times 2 · heads · headDim + heads · headDim².
        #expect(bytes == (64 + 512) * 4 && row["messagesPerRank"] as? Int == 2, "\(row)")
      }
    }
  }

  @Test("strong and weak scaling of operators, with what computing alone takes")
  func scaling() async throws {
    for benchmark in ["strong", "weak"] {
      let report = try await BenchRows(
        [
          benchmark, "--mixer", "mamba+softplus", "--tokens", "101", "--repeats", "1", "--sizes",
          "channels=70,state=3", "--pass", "forward",
        ], ranks: 2)
      report.expectKeysTellRowsApart()
      report.expectPositive(["seconds", "computeOnlySeconds", "speedup", "efficiency", "flops"])
      #expect(report.rows.count == 2)
      for row in report.rows {
        let ranks = try #require(row["ranks"] as? Int)
        #expect(row["tokens"] as? Int == (benchmark == "weak" ? 101 * ranks : 101))
        #expect(row["bytesSentPerRank"] as? Int == (ranks - 1) * 70 * 3 * 4)
        #expect(row["sizes"] as? String == "batch=1,channels=70,state=3")
      }
    }
  }

  @Test("predictions: bytes and messages as they are counted, time of the first state's way")
  func predict() async throws {
    func rows(_ arguments: [String]) async throws -> [[String: Any]] {
      let result = try await MPIJob.runAlone(
        program: "gyre",
        arguments: [
          "predict", "--flops", "1G", "--network", "1GB/s", "--network-latency", "1ms", "--format",
          "json",
        ] + arguments)
      try #require(result.isSuccess, "\(result)")
      let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
      return try #require((object as? [String: Any])?["results"] as? [[String: Any]])
    }
    let scan = try await rows([
      "--mixer", "rwkv4", "--sizes", "channels=640", "--tokens", "100000", "--ranks", "1,5",
    ])
    // 20 flops of a channel and token, at a gigaflop a second.
    let alone: Double = 100_000 * 640 * 20 / 1e9
    let seconds = scan.map { $0["seconds"] as? Double ?? 0 }
    try #require(seconds.count == 2)
    #expect(abs(seconds[0] / alone - 1) < 1e-9)
    // On 5 ranks 20 blocks of 32 channels, the last of which waits for four others' first.
    let way: Double = 4 * (1e-3 + 32 * 12 / 1e9)
    let expected: Double = alone / 5 * 24 / 20 + way
    #expect(abs(seconds[1] / expected - 1) < 1e-6, "\(scan[1])")
    #expect(scan[1]["bytesSentPerRank"] as? Double == 640 * 12)
    #expect(scan[1]["messagesPerRank"] as? Int == 20)
    let sum = try await rows([
      "--mixer", "sima", "--sizes", "heads=1,headDim=32", "--tokens", "100000", "--ranks", "4",
    ])
    let bytes: Double = 2 * 0.75 * (64 + 1024) * 4
    #expect(sum[0]["bytesSentPerRank"] as? Double == bytes)
    #expect(sum[0]["messagesPerRank"] as? Int == 6)
  }

  @Test(
    "what cannot be measured is said in a sentence",
    arguments: [
      (["bench", "mix", "sima+causal"], "+causal means nothing to sima"),
      (["bench", "mix", "smia"], "do you mean 'sima'?"),
      (["bench", "mix", "sima", "--tokens", "9,3"], "ascending order"),
      (["bench", "mix", "sima", "--sizes", "haeds=3"], "do you mean 'heads'?"),
      (["bench", "strong", "--sizes", "heads=3"], "--sizes is of --mixer"),
      (["bench", "weak", "--mixer", "sima", "--head-dim", "32"], "--head-dim cannot be used"),
      (["predict", "--mixer", "sima", "--tokens", "9", "--heads", "2"], "is not for --mixer"),
      (
        ["predict", "--mixer", "sima", "--tokens", "64", "--network", "1gbit"],
        "gyre bench mix sima"
      ),
    ])
  func refusals(arguments: [String], words: String) async throws {
    let result = try await MPIJob.runAlone(program: "gyre", arguments: arguments)
    #expect(result.ending == .exited(64) && result.standardError.contains(words), "\(result)")
  }
}
