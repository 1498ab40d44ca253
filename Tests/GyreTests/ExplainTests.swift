import Foundation
import TestSupport
import Testing

@Suite("gyre attend --explain")
struct ExplainTests {
  private func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["attend"] + arguments, ranks: ranks)
  }

  private func object(_ result: CommandResult) throws -> [String: Any] {
    #expect(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require(object as? [String: Any])
  }

  private static let window = [
    "--random", "1x4000x2x2x16", "--causal", "--window", "100", "--transport", "ring",
  ]

  @Test("a plan is what a run does, and nothing is computed for it")
  func plan() async throws {
    let folder = try TemporaryFolder()
    let output = folder.path + "/out.safetensors"
    let more = ["--gradients", "--report", "json", "--output", output]
    let plan = try object(
      try await attend(Self.window + more + ["--explain", "--verify"], ranks: 4))
    #expect(!FileManager.default.fileExists(atPath: output))
    let run = try object(try await attend(Self.window + more, ranks: 4))
    #expect(FileManager.default.fileExists(atPath: output))
    // 99 keys before the first query of a rank, with values; back come gradients of them.
    let ranks = try #require(plan["perRank"] as? [[String: Any]])
    #expect(ranks.map { $0["keysNeeded"] as? Int } == [0, 99, 99, 99])
    #expect(ranks.map { $0["keysOfUse"] as? Int } == [99, 99, 99, 0])
    let done = try #require(run["perRank"] as? [[String: Any]])
    for (planned, done) in zip(ranks, done) {
      let bytes = ["bytesSent", "backwardBytesSent"].compactMap { planned[$0] as? Double }
      #expect(bytes.reduce(0, +) == done["bytesSent"] as? Double, "\(planned), \(done)")
      #expect(planned["messagesSent"] as? Int == done["messagesSent"] as? Int)
      // 4 · 16 flops forward, 10 · 16 backward.
      let pairs = try #require(planned["pairs"] as? Double)
      #expect(pairs * 14 * 16 == done["flops"] as? Double)
    }
    for field in ["layout", "layoutReason", "transport", "workImbalance", "window", "tokens"] {
      #expect("\(plan[field] ?? "")" == "\(run[field] ?? "")", "\(field)")
    }
    for report in [plan, run] {
      let coverage = try #require(report["coverage"] as? [String: Any])
      #expect(coverage["rows"] as? [String] == ["+...", "++..", ".++.", "..++"])
    }
  }

  @Test("text and picture")
  func picture() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/mask.svg"
    let options = Self.window + ["--explain", "--explain-svg", path]
    let result = try await attend(options, ranks: 4)
    #expect(result.isSuccess, "\(result)")
    for words in [
      "4,000 tokens on 4 ranks, nothing computed", "1  ◧ ◧ · ·", "neighbours together",
      "Of 4,000 keys 297 are of use to other ranks",
    ] { #expect(result.standardOutput.contains(words), "\(result)") }
    let svg = try String(contentsOfFile: path, encoding: .utf8)
    #expect(svg.hasPrefix("<svg ") && svg.hasSuffix("</svg>\n"))
    // Own keys in blue, those of others in red, some and all.
    for color in ["#0072B2", "#99c7e0", "#D55E00", "#eebf99"] { #expect(svg.contains(color)) }
    #expect(svg.contains("Causal, window 100") && svg.utf8.count < 60_000)
    let kept = try await attend(options + ["--no-overwrite"], ranks: 1)
    #expect(!kept.isSuccess && kept.standardError.contains("is not to be overwritten"), "\(kept)")
    // Without --explain attention is computed too.
    let run = try await attend(
      ["--random", "1x64x2x1x8", "--layout", "striped", "--explain-svg", path, "--verify"], ranks: 3
    )
    #expect(run.isSuccess && run.standardOutput.contains("passed"), "\(run)")
    #expect(try String(contentsOfFile: path, encoding: .utf8).contains("striped layout"))
    for (arguments, words) in [
      (["--explain-svg", folder.path + "/a.png"], "a name that ends in .svg"),
      (["--explain-svg", path, "--trace", path], "is the same file as"),
      (["--explain-svg", folder.path + "/none/a.svg"], "none"),
    ] {
      let refused = try await attend(["--random", "1x64x2x1x8"] + arguments, ranks: 2)
      #expect(!refused.isSuccess && refused.standardError.contains(words), "\(refused)")
    }
  }

  @Test(
    "any numbers of queries and keys, types and weights hold in the balanced layout",
    arguments: [
      (3, ["--window", "40", "--globals", "0,500-530", "--gradients"]),
      (5, ["--causal", "--queries", "300", "--wire", "bf16", "--transport", "ring"]),
      (4, ["--causal", "--weights", "2,1,1,0", "--gradients", "--transport", "query"]),
      (2, ["--causal", "--window", "70", "--window-dilation", "3", "--reproducible"]),
    ])
  func balanced(ranks: Int, options: [String]) async throws {
    let fields = try object(
      try await attend(
        ["--random", "2x803x4x2x24", "--layout", "balanced", "--verify", "--report", "json"]
          + options, ranks: ranks))
    #expect(fields["layout"] as? String == "balanced" && fields["checkedRows"] as? Int == 32)
    let imbalance = try #require(fields["workImbalance"] as? Double)
    if !options.contains("--weights") && !options.contains("--reproducible") {
      #expect(imbalance <= 1.06, "\(imbalance)")
    }
  }
}
