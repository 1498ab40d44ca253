import TestSupport
import Testing

/// Models whose results do not depend on ranks.
@Suite("Reproducible logits")
struct ReproducibleModelTests {
  @Test("what is reproducible is the same bits on any ranks, however products are rounded")
  func reproducible() async throws {
    let folder = try TemporaryFolder()
    // A part of the tokens goes to each expert, of a chunk's end few.
    let path = try TinyModel(architecture: "qwen3moe", type: 8, expertType: 8).write(to: folder)
    let text = try folder.file("text.txt", (0..<1900).map { UInt8(97 + $0 * $0 % 26) })
    func run(_ command: String, _ products: String, ranks: Int, _ more: [String]) async throws
      -> CommandResult
    {
      try await gyre(
        [
          command, path, "--text", text, "--weight-products", products, "--instructions", "avx2",
          "--chunk", "\(490 + 7 * ranks)", "--threads", "\(ranks % 2 + 1)",
        ] + more, ranks: ranks)
    }
    var all: Set<[UInt8]> = []
    for (products, counts) in [("f32", [1, 3]), ("bf16", [1, 2, 5]), ("int8", [1, 3])] {
      var found: [[UInt8]] = []
      for ranks in counts {
        let name = "\(products)-\(ranks).safetensors"
        let result = try await run(
          "logits", products, ranks: ranks,
          ["--reproducible", "--output", "\(folder.path)/\(name)"])
        try #require(result.isSuccess, "\(result)")
        found.append(try folder.bytes(name))
      }
      #expect(found.allSatisfy { $0 == found[0] }, "\(products)")
      all.insert(found[0])
    }
    #expect(all.count == 3)
    // Otherwise sums of another order decide some roundings.
    var scores: [Double] = []
    for ranks in [1, 3] {
      let report = try json(
        try await run("perplexity", "int8", ranks: ranks, ["--report", "json"]))
      scores.append(report["nll"] as? Double ?? 0)
    }
    #expect(scores[0] > 0 && abs(scores[1] / scores[0] - 1) < 1e-3, "\(scores)")
    let refused = try await run(
      "perplexity", "f32", ranks: 2, ["--reproducible", "--window", "100"])
    #expect(!refused.isSuccess && refused.standardError.contains("--window"), "\(refused)")
  }
}
