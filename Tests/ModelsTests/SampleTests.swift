import TestSupport
import Testing

/// Sequences that grow: several after one prompt, and what is taken back.
@Suite("Samples and what is taken back")
struct SampleTests {
  @Test(
    "sequences that fork and grow together, and those that are taken back, are as if read at once",
    arguments: [("rwkv6", 2), ("mamba2", 1), ("mamba", 2), ("qwen2", 2), ("gpt-oss", 3)])
  func together(architecture: String, ranks: Int) async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel(architecture: architecture, type: 8, isTied: false).write(to: folder)
    let result = try await MPIJob.run(
      program: "ring-checks", arguments: ["models"], ranks: ranks,
      environment: ["GYRE_CHECK_MODEL": path])
    #expect(result.isSuccess && result.standardOutput.hasSuffix("\npassed\n"), "\(result)")
  }

  @Test("samples are what each is alone, and have the pages of the prompt once")
  func samples() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel(architecture: "gpt-oss").write(to: folder)
    let prompt = String(repeating: "Seven words. ", count: 5) + "Words"
    let arguments = [
      "generate", path, "--prompt", prompt, "--max-tokens", "20", "--page-tokens", "16",
    ]
    let drawn = ["--temperature", "1.5", "--seed"]
    var alone: [[String: Any]] = []
    for seed in ["7", "8", "9"] {
      alone.append(
        try json(try await gyre(arguments + drawn + [seed, "--report", "json"], ranks: 1)))
    }
    let texts = alone.map { $0["tokens"] as? [Int] }
    #expect(Set(texts).count == 3)
    let more = ["--samples", "3"]
    for ranks in [1, 3] {
      let report = try json(
        try await gyre(arguments + drawn + ["7", "--report", "json"] + more, ranks: ranks))
      let samples = try #require(report["samples"] as? [[String: Any]])
      #expect(samples.map { $0["tokens"] as? [Int] } == texts, "\(ranks) ranks")
      #expect(samples.map { $0["seed"] as? Int } == [7, 8, 9])
      let (bytes, needed) = (
        try #require(report["cacheBytes"] as? Int), try #require(report["cacheBytesNeeded"] as? Int)
      )
      #expect(bytes <= needed, "\(ranks) ranks")
      // Four pages of the prompt and a copy of the fifth for each, with what each adds.
      let page = 3 * 16 * 2 * 2 * 16 * 4
      if ranks == 1 { #expect(bytes == (5 + 3 * 2) * page) }
    }
    let words = try await gyre(arguments + drawn + ["7"] + more, ranks: 1)
    let said = zip(["7", "8", "9"], alone).enumerated().map { number, sample in
      "sample \(number + 1), seed \(sample.0):\n\(sample.1["text"] as? String ?? "?")\n"
    }
    #expect(words.isSuccess && words.standardOutput == said.joined(), "\(words)")
    let likely = try await gyre(arguments + more, ranks: 1)
    #expect(!likely.isSuccess && likely.standardError.contains("without --temperature"))
  }
}
