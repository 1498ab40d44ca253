import Foundation
import TestSupport
import Testing

/// What models would take on machines that are not here, worked out beside it.
@Suite("gyre predict --model")
struct ModelPredictTests {
  private func predict(_ arguments: [String]) async throws -> CommandResult {
    try await MPIJob.runAlone(program: "gyre", arguments: ["predict"] + arguments)
  }

  private func rows(_ result: CommandResult) throws -> [[String: Any]] {
    try #require(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require((object as? [String: Any])?["results"] as? [[String: Any]])
  }

  private static let machine = ["--flops", "50G", "--memory", "20GB/s", "--network", "10gbit"]

  @Test("products, weights and exchanges take what their numbers and the speeds say")
  func prediction() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel().write(to: folder)
    let found = try rows(
      try await predict(
        ["--model", path, "--tokens", "4096", "--ranks", "1,4", "--format", "json"] + Self.machine))
    #expect(
      found.map { $0["test"] as? String } == ["pp4096", "tg @ d4096", "pp4096", "tg @ d4096"])
    func number(_ row: Int, _ name: String) -> Double {
      (found[row][name] as? NSNumber)?.doubleValue ?? -1
    }
    func expect(_ found: Double, _ expected: Double, _ what: String) {
      #expect(abs(found / expected - 1) < 1e-6, "\(what): \(found), and not \(expected)")
    }
    // Width 64, 6 heads and 2 KV heads of 16, hidden 96, three layers, 257 tokens.
    let layer: Int = 64 * 96 + 2 * 64 * 32 + 96 * 64 + 3 * 64 * 96
    let weights = Double(3 * layer)
    let output = 64.0 * 257
    expect(
      number(0, "productSeconds"), 2 * (weights * 4096 + output) / 50e9, "products of one rank")
    expect(
      number(2, "productSeconds"), 2 * (weights * 1024 + output) / 50e9, "of one of four")
    expect(number(1, "productSeconds"), 4 * (weights + output) / 20e9, "weights")
    expect(number(3, "productSeconds"), number(1, "productSeconds"), "each rank reads them all")
    let cache: Double = 3 * 4096 * 2 * 2 * 16 * 4
    expect(number(1, "attentionSeconds"), cache / 20e9, "keys and values")
    expect(number(3, "attentionSeconds"), number(1, "attentionSeconds") / 4, "a quarter of them")
    // Two rounds a layer of a record a head.
    let bytes: Double = 3 * 2 * 6 * 18 * 4
    expect(number(3, "bytesSentPerRank"), bytes, "bytes")
    expect(number(3, "exchangeSeconds"), bytes / 1.25e9, "exchanges")
    #expect(number(1, "exchangeSeconds") == 0 && number(0, "bytesSentPerRank") == 0)
    for row in 0..<4 {
      expect(
        number(row, "seconds"),
        number(row, "productSeconds") + number(row, "attentionSeconds")
          + number(row, "exchangeSeconds"), "the whole")
    }
    // On one host ranks share the columns.
    let near = try rows(
      try await predict(
        ["--model", path, "--tokens", "4096", "--ranks", "2", "--ranks-per-host", "2", "--format"]
          + ["json"] + Self.machine))
    let outputs: Int = 96 + 2 * 32 + 64 + 2 * 96 + 64
    let columns = Double(3 * outputs + 257)
    let sent = (near[1]["bytesSentPerRank"] as? NSNumber)?.doubleValue ?? -1
    let merging: Double = 3 * 6 * 18 * 4
    expect(sent, merging + 2 * columns, "columns")
  }

  @Test("of layers that carry states products, states and their way are what numbers say")
  func states() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel(architecture: "mamba2", isTied: false).write(to: folder)
    let found = try rows(
      try await predict(
        ["--model", path, "--tokens", "40", "--ranks", "1,2", "--format", "json"] + Self.machine))
    func number(_ row: Int, _ name: String) -> Double {
      (found[row][name] as? NSNumber)?.doubleValue ?? -1
    }
    func expect(_ found: Double, _ expected: Double, _ what: String) {
      #expect(abs(found / expected - 1) < 1e-6, "\(what): \(found), and not \(expected)")
    }
    // Width 64, 96 channels in 6 heads of 5 states, 2 groups, three layers, 257 tokens.
    let ofLayer: Int = 64 * (96 + 116 + 6) + 96 * 64
    let weights = Double(3 * ofLayer)
    let output = 64.0 * 257
    expect(number(0, "productSeconds"), 2 * (weights * 40 + output) / 50e9, "products")
    expect(number(2, "productSeconds"), 2 * (weights * 20 + output) / 50e9, "on two ranks")
    #expect(number(0, "attentionSeconds") > 0)
    #expect(number(2, "attentionSeconds") > number(0, "attentionSeconds") / 2)
    expect(number(1, "productSeconds"), 4 * (weights + output) / 20e9, "weights")
    let ofState: Int = 96 * 5 + 116 * 3
    let states = Double(3 * 4 * ofState)
    expect(number(1, "attentionSeconds"), 2 * states / 20e9, "states are read and written")
    // All but the last of two ranks hand on states and the rows that a convolution wants.
    expect(number(2, "bytesSentPerRank"), states, "bytes")
    #expect(number(3, "bytesSentPerRank") == 0 && number(0, "bytesSentPerRank") == 0)
    // Of RWKV 6 heads of 16 columns, and the row before in both halves of a layer.
    let rwkv = try TinyModel(architecture: "rwkv6").write(to: folder, "rwkv6.gguf")
    let ofRWKV = try rows(
      try await predict(
        ["--model", rwkv, "--tokens", "40", "--ranks", "2", "--format", "json"] + Self.machine))
    let rwkvStates: Double = 3 * 4 * (64 * 16 + 2 * 64)
    let sent = (ofRWKV[0]["bytesSentPerRank"] as? NSNumber)?.doubleValue ?? -1
    expect(sent, rwkvStates, "bytes of rwkv6")
    let seconds = (ofRWKV[1]["attentionSeconds"] as? NSNumber)?.doubleValue ?? -1
    expect(seconds, 2 * rwkvStates / 20e9, "states of rwkv6")
    let text = try folder.file(
      "text", Array(String(repeating: "The sea was calm. ", count: 9).utf8))
    let run = try await MPIJob.run(
      program: "gyre", arguments: ["perplexity", path, "--text", text, "--report", "json"], ranks: 2
    )
    try #require(run.isSuccess, "\(run)")
    let report = try JSONSerialization.jsonObject(with: Data(run.standardOutput.utf8))
    #expect((report as? [String: Any])?["bytesSent"] as? Double == states)
    let refused = try await predict(
      ["--model", path, "--tokens", "40", "--ranks", "1", "--transport", "ring"] + Self.machine)
    #expect(
      refused.ending == .exited(64) && refused.standardError.contains("a model of mamba2 has none"))
  }

  @Test("of experts those of a token are counted in its work, and all in memory")
  func experts() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel(architecture: "qwen3moe").write(to: folder)
    let found = try rows(
      try await predict(
        ["--model", path, "--tokens", "512", "--ranks", "1", "--format", "json"] + Self.machine))
    let seconds = found.map { ($0["productSeconds"] as? NSNumber)?.doubleValue ?? -1 }
    // As above; two of five experts with three matrices, and the router.
    let attention: Int = 64 * 96 + 2 * 64 * 32 + 96 * 64
    let expert: Int = 3 * 64 * 96
    let (layer, output): (Int, Int) = (attention + 5 * 64 + 2 * expert, 64 * 257)
    let work = 2 * Double(3 * layer * 512 + output)
    #expect(abs(seconds[0] / (work / 50e9) - 1) < 1e-6, "\(found)")
    let bytes = 4 * Double(3 * layer + output)
    #expect(abs(seconds[1] / (bytes / 20e9) - 1) < 1e-6, "\(found)")
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["inspect", path, "--report", "json"])
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    let report = try #require(object as? [String: Any])
    let memory = report["memory"] as? [String: Any]
    let sizes = report["sizes"] as? [String: Any]
    let all: Int = 3 * (attention + 5 * 64 + 5 * expert) + 64 * 257
    #expect(memory?["weightBytes"] as? Int == 4 * all && memory?["copiedBytes"] as? Int == 0)
    #expect(sizes?["experts"] as? Int == 5 && sizes?["expertsOfToken"] as? Int == 2)
  }

  @Test("speeds that gyre bench model has measured are taken first")
  func calibration() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel().write(to: folder)
    let bench = try await MPIJob.run(
      program: "gyre",
      arguments: [
        "bench", "model", path, "--prompt-tokens", "256", "--generated-tokens", "8", "--threads",
        "1", "--repeats", "2", "--format", "json",
      ], ranks: 1)
    try #require(bench.isSuccess, "\(bench)")
    let file = try folder.file("bench.json", Array(bench.standardOutput.utf8))
    let measured = try rows(bench)
    let found = try rows(
      try await predict(
        ["--model", path, "--tokens", "256", "--ranks", "1", "--results", file, "--flops", "1000G"]
          + ["--network", "10gbit", "--format", "json"]))
    let seconds = measured.map { ($0["seconds"] as? NSNumber)?.doubleValue ?? -1 }
    let predicted = found.map { ($0["seconds"] as? NSNumber)?.doubleValue ?? -1 }
    // The prompt is the one that was measured; a token has but keys and values besides.
    #expect(abs(predicted[0] / seconds[0] - 1) < 1e-6, "\(found)")
    #expect(predicted[1] > seconds[1] / 8 && predicted[1] < seconds[1], "\(found)")
  }

  @Test("what the model says itself is not asked for")
  func refusals() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel().write(to: folder)
    let start = ["--model", path, "--tokens", "64", "--flops", "1G", "--network", "1gbit"]
    for (arguments, words) in [
      (["--heads", "4"], "--heads is not for --model"),
      (["--causal"], "masks is not for --model"), ([], "How fast are weights read?"),
    ] {
      let result = try await predict(start + arguments)
      #expect(result.ending == .exited(64) && result.standardError.contains(words), "\(result)")
    }
  }
}
