import Foundation
import TestSupport
import Testing

/// That models are measured as told and reported; never how fast that was.
@Suite("gyre bench model")
struct ModelBenchTests {
  private func bench(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["bench", "model"] + arguments, ranks: ranks)
  }

  @Test("each test has a row for each depth and number of ranks, named as llama-bench does")
  func rows() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel(architecture: "qwen2", type: 8).write(to: folder)
    let result = try await bench(
      [
        path, "--prompt-tokens", "40,70", "--generated-tokens", "3", "--depth", "0,50", "--ranks",
        "1,3", "--repeats", "2", "--chunk", "16", "--format", "json",
      ], ranks: 3)
    try #require(result.isSuccess, "\(result)")
    #expect(result.standardError.hasPrefix("gyre: bench model: 2 comparisons of"), "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    let report = try #require(object as? [String: Any])
    let rows = try #require(report["results"] as? [[String: Any]])
    let keys = try #require(report["keys"] as? [String])
    #expect(Set(rows.map { row in keys.map { "\(row[$0] ?? "")" } }).count == rows.count)
    let names = ["pp40", "pp70", "tg3"].flatMap { [$0, $0] }
    #expect(rows.map { $0["test"] as? String } == names + names.map { $0 + " @ d50" })
    #expect(rows.map { $0["ranks"] as? Int } == Array(repeating: [1, 3], count: 6).flatMap { $0 })
    for row in rows {
      func number(_ name: String) -> Double { (row[name] as? NSNumber)?.doubleValue ?? -1 }
      #expect(number("secondsLow") > 0 && number("secondsLow") <= number("seconds"))
      #expect(number("seconds") <= number("secondsHigh") && number("repeats") == 2)
      let tokens = number("promptTokens") + number("generatedTokens")
      #expect(abs(number("tokensPerSecond") * number("seconds") / tokens - 1) < 1e-9, "\(row)")
      #expect(number("ranks") > 1 || number("speedup") == 1)
      #expect(row["weights"] as? String == (number("ranks") > 1 ? "divided" : "replicated"))
      #expect(row["model"] as? String == "model.gguf" && row["architecture"] as? String == "qwen2")
    }
  }

  @Test("what does not fit the model ends all ranks, those too that take no part")
  func refusals() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel(architecture: "gpt2", width: 96, kvHeads: 6).write(to: folder)
    for (arguments, words) in [
      (["--ranks", "1", "--depth", "500"], "the model has 512 positions"),
      (["--prompt-tokens", "0", "--generated-tokens", "0"], "leave nothing to measure"),
      (["--ranks", "4"], "the job has 2"),
    ] {
      let result = try await bench([path, "--repeats", "1"] + arguments, ranks: 2)
      #expect(result.ending == .exited(64) && result.standardError.contains(words), "\(result)")
      #expect(
        result.standardError.split(separator: "\n").filter { $0.contains(words) }.count == 1)
    }
  }
}
