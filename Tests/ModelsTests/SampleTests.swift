import Foundation
import TestSupport
import Testing

/// Several texts after one prompt.
@Suite("gyre generate --samples")
struct SampleTests {
  private func gyre(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: arguments, ranks: ranks)
  }

  private func json(_ result: CommandResult) throws -> [String: Any] {
    try #require(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require(object as? [String: Any])
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
      // Beside what one takes, a copy of the page that the prompt does not fill.
      let one = try #require(alone[0]["cacheBytes"] as? Int)
      if ranks == 1 { #expect(bytes == one + 3 * 16 * 2 * 2 * 16 * 4) }
    }
    let words = try await gyre(arguments + drawn + ["7"] + more, ranks: 1)
    #expect(words.isSuccess && words.standardOutput.contains("sample 3, seed 9:\n"), "\(words)")
    let likely = try await gyre(arguments + more, ranks: 1)
    #expect(!likely.isSuccess && likely.standardError.contains("without --temperature"))
  }
}
