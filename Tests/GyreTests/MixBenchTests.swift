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
    #expect(report.rows.count == 42)
    for row in report.rows {
      let ranks = row["ranks"] as? Int ?? 0
      let tokens = row["tokens"] as? Int ?? 0
      let mixer = row["mixer"] as? String ?? ""
      let pass = row["pass"] as? String ?? ""
      let bytes = row["bytesSentPerRank"] as? Int ?? -1
      let messages = row["messagesPerRank"] as? Int ?? -1
      let isFirst = row["timeRatio"] is NSNull
      #expect(isFirst == (tokens == 96), "\(row)")
      let isCausal = row["causal"] as? Bool ?? false
      #expect(isCausal == ["cosformer", "attention"].contains(mixer), "\(row)")
      if ranks == 1 { #expect(bytes == 0) }
      if mixer == "rwkv4", pass == "forward", ranks > 1 {
        // Three numbers of each of 130 channels.
        #expect(bytes == 130 * 12, "\(row)")
        #expect(messages == 1, "\(row)")
        let numbers: Int = 4 * tokens * 130 + 2 * 130 + 390
        #expect(row["leastBytes"] as? Int == 4 * numbers, "\(row)")
      }
      if mixer == "sima", pass == "forward", ranks == 2 {
        // 2 (P − 1) / P times 2 · heads · headDim + heads · headDim².
        let numbers: Int = 64 + 512
        #expect(bytes == 4 * numbers, "\(row)")
        #expect(messages == 2, "\(row)")
      }
    }
  }

  @Test("without names all operators of linear work are measured, and any by its name")
  func unnamed() async throws {
    let short = ["--tokens", "64", "--repeats", "1", "--pass", "forward", "--threads", "1"]
    let all = try await BenchRows(["mix"] + short, ranks: 1)
    #expect(
      all.rows.compactMap { $0["mixer"] as? String } == [
        "cosformer", "deltanet", "gla", "led", "linformer", "mamba", "mamba2", "rwkv4", "rwkv5",
        "rwkv6", "sima", "soft",
      ])
    let others = try await BenchRows(["mix", "aft,infonce,relu"] + short, ranks: 1)
    #expect(others.rows.compactMap { $0["mixer"] as? String } == ["aft", "infonce", "relu"])
    others.expectPositive(["seconds", "tokensPerSecond", "flops"])
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
        let tokens: Int = benchmark == "weak" ? 101 * ranks : 101
        #expect(row["tokens"] as? Int == tokens)
        let bytes: Int = (ranks - 1) * 70 * 3 * 4
        #expect(row["bytesSentPerRank"] as? Int == bytes)
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
    #expect(isNear(seconds[0], alone))
    // Three blocks of up to 256 channels, of all of which the first of 5 ranks knows first what
    // becomes of their states, in 0.35 of the time.
    let way: Double = 4 * (1e-3 + 640 / 3 * 12 / 1e9)
    let expected: Double = alone / 5 * (3 + 3 * 0.35) / 3 + way
    #expect(isNear(seconds[1], expected), "\(scan[1])")
    #expect(scan[1]["bytesSentPerRank"] as? Int == 640 * 12)
    #expect(scan[1]["messagesPerRank"] as? Int == 3)
    // 2 heads, of which all but the last ranks know first what their tokens do to them, by two of
    // five multiply–adds.
    let gated = try await rows([
      "--mixer", "gla", "--sizes", "heads=2,headDim=32", "--tokens", "150000", "--ranks", "2,5",
    ])
    let whole: Double = 150_000 * 2 * 1024 * 5 / 1e9
    let hop: Double = 1e-3 + 4096 / 1e9
    let one: Double = whole / 2 * 1.2 + hop
    let all: Double = whole / 5 * 1.4 + 4 * hop
    let times = [one, all]
    for (row, time) in zip(gated, times) {
      let seconds = row["seconds"] as? Double ?? 0
      #expect(isNear(seconds, time), "\(row)")
    }
    let sum = try await rows([
      "--mixer", "sima", "--sizes", "heads=1,headDim=32", "--tokens", "100000", "--ranks", "4",
    ])
    let bytes: Double = 2 * 0.75 * (64 + 1024) * 4
    #expect(sum[0]["bytesSentPerRank"] as? Int == Int(bytes))
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

  private func isNear(_ value: Double, _ expected: Double) -> Bool {
    abs(value / expected - 1) < 1e-6
  }
}
