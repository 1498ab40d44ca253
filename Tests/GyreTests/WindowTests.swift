import Foundation
import Tensors
import TestSupport
import Testing

@Suite("gyre attend --window")
struct WindowTests {
  private func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["attend"] + arguments, ranks: ranks)
  }

  private func report(_ result: CommandResult) throws -> [String: Any] {
    #expect(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require(object as? [String: Any])
  }

  @Test(
    "both passes hold, and the report says so",
    arguments: [
      (
        1, ["--causal", "--window", "50", "--sinks", "4"],
        "Causal attention with window 50 and 4 sinks: 2"
      ),
      (
        3, ["--window", "9", "--window-dilation", "5", "--globals", "7,300-303"],
        "Attention with window 9x5 and globals 7,300-303: 2"
      ),
      (2, ["--causal", "--window", "20", "--window-dilation", "3", "--reproducible"], "20x3"),
      (2, ["--window", "3", "--queries", "100", "--sinks", "1", "--layout", "striped"], "1 sink"),
    ])
  func verified(ranks: Int, options: [String], words: String) async throws {
    let problem = ["--random", "2x803x4x2x24", "--gradients", "--verify"] + options
    let fields = try report(try await attend(problem + ["--report", "json"], ranks: ranks))
    #expect(fields["maxGradientError"] is Double && fields["checkedRows"] as? Int == 32)
    let text = try await attend(problem, ranks: ranks)
    #expect(text.standardOutput.contains(words), "\(text)")
  }

  @Test("pairs are those of the window, and blocks that nobody needs stay where they are")
  func work() async throws {
    let fields = try report(
      try await attend(
        [
          "--random", "1x4000x2x2x16", "--causal", "--window", "100", "--transport", "ring",
          "--report", "json",
        ], ranks: 4))
    // 4 · 16 flops for each of two heads.
    let pairs = 100 * 4000 - 100 * 99 / 2
    #expect(fields["flops"] as? Double == Double(2 * 64 * pairs))
    // The 99 keys before its first query, with their values, are all that a rank receives.
    #expect(fields["bytesSentPerRank"] as? Int == 99 * 2 * 2 * 16 * 4)
    #expect(fields["layout"] as? String == "contiguous" && fields["window"] as? Int == 100)
  }

  @Test("rows of global tokens are computed with tensors of their own")
  func projections() async throws {
    let folder = try TemporaryFolder()
    let shapes: [(String, Shape)] = [
      ("q", [2, 90, 4, 16]), ("k", [2, 90, 2, 16]), ("v", [2, 90, 2, 24]),
    ]
    let plain = shapes.map { TestTensor($0.0, $0.1) } + [TestTensor("do", [2, 90, 4, 24])]
    let others = shapes.map { TestTensor($0.0 + "_global", $0.1, seed: 77) }
    let both = try folder.safetensors(plain + others, name: "both.safetensors")
    // The same as the tensors of all tokens.
    let alone = try folder.safetensors(
      zip(shapes, others).map {
        var tensor = TestTensor($0.0, $0.1)
        tensor.values = $1.values
        return tensor
      } + [TestTensor("do", [2, 90, 4, 24])], name: "alone.safetensors")
    func run(
      _ input: String, _ options: [String], ranks: Int
    ) async throws -> (CommandResult, path: String) {
      let path = folder.path + "/out\(ranks)\(options.count).safetensors"
      let result = try await attend(
        [input, "--gradients", "--verify", "--reproducible", "--report", "json", "--output", path]
          + options, ranks: ranks)
      return (result, path)
    }
    let masks = ["--window", "7", "--globals", "0,40-42", "--rope", "half", "--learned-sinks"]
    let sinks = try folder.safetensors(
      plain + others + [TestTensor("sinks", [4])], name: "sinks.safetensors")
    let one = try await run(sinks, masks, ranks: 1)
    // 32 rows of others, and both sequences' four global rows.
    #expect(try report(one.0)["checkedRows"] as? Int == 32 + 8)
    let three = try await run(sinks, masks + ["--transport", "ring"], ranks: 3)
    _ = try report(three.0)
    for name in ["o", "lse", "dq", "dk", "dv", "dq_global", "dk_global", "dv_global", "dsinks"] {
      let values = try read(one.path, name).values
      #expect(
        values == (try read(three.path, name).values) && values.contains { $0 != 0 }, "\(name)")
    }
    // If all tokens are global, they are computed with the other tensors alone.
    let all = try await run(both, ["--window", "7", "--globals", "0-89"], ranks: 2)
    let expected = try await run(alone, [], ranks: 2)
    _ = try (report(all.0), report(expected.0))
    for (name, other) in [("o", "o"), ("lse", "lse"), ("dq_global", "dq"), ("dv_global", "dv")] {
      #expect(try read(all.path, name).values == read(expected.path, other).values, "\(name)")
    }
    #expect(try read(all.path, "dk").values.allSatisfy { $0 == 0 })
    let part = try folder.safetensors(plain + others.dropLast(), name: "part.safetensors")
    let wide = try folder.safetensors(
      plain + others.dropLast() + [TestTensor("v_global", [2, 90, 2, 16])],
      name: "wide.safetensors")
    let decayed = try await run(
      both,
      ["--window", "7", "--globals", "0,80", "--causal", "--xpos", "--gradients", "--verify"],
      ranks: 3)
    #expect(decayed.0.isSuccess, "\(decayed.0)")
    for (input, words) in [
      (part, "there is no tensor 'v_global' in the file"),
      (wide, "v_global is [2, 90, 2, 16], and rows of global tokens"),
    ] {
      let refused = try await run(input, ["--window", "7", "--globals", "3"], ranks: 2)
      #expect(!refused.0.isSuccess && refused.0.standardError.contains(words), "\(refused.0)")
    }
  }

  @Test(
    "what makes no sense is refused in one sentence",
    arguments: [
      (["--window", "0"], "--window is 0, and a query sees at least itself"),
      (["--window", "-5"], "--window is -5"),
      (["--window", "9", "--window-dilation", "0"], "--window-dilation is 0; give at least 1"),
      (["--sinks", "4"], "--sinks says something about a window, and there is none"),
      (["--window-dilation", "2"], "--window-dilation says something about a window"),
      (["--globals", "3"], "--globals says something about a window"),
      (["--window", "9", "--sinks", "0"], "--sinks is 0; give at least 1"),
      (["--window", "9", "--globals", "3,x"], "give positions and ranges of positions"),
      (["--window", "9", "--globals", "64"], "--globals names token 64, and there are 64 keys"),
      (["--window", "9", "--dilated", "16:1"], "--window cannot be used with --dilated"),
    ])
  func refused(options: [String], words: String) async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend", "--random", "1x64x2x2x16"] + options)
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.contains(words), "\(result)")
    #expect(result.standardOutput.isEmpty)
  }

  @Test("benchmarks measure it and say so in their rows")
  func bench() async throws {
    let window = ["--window", "16", "--sinks", "2"]
    for benchmark in [["kernel", "--repeats", "1"], ["strong", "--ranks", "1", "--repeats", "2"]] {
      let result = try await MPIJob.runAlone(
        program: "gyre",
        arguments: ["bench"] + benchmark + window + [
          "--tokens", "64", "--head-dim", "16", "--causal", "true", "--format", "json",
          "--softcap", "30", "--alibi", "--rope", "half",
        ])
      #expect(result.isSuccess, "\(result)")
      #expect(result.standardOutput.contains("\"window\":16"), "\(result)")
      #expect(result.standardOutput.contains("\"sinks\":2"), "\(result)")
      let rules =
        benchmark[0] == "kernel"
        ? ["\"softcap\":30", "\"rope\":\"half\"", "\"turnedColumnsPerSecond\":"]
        : ["\"rules\":\"softcap 30.0, alibi, rope half\""]
      #expect(rules.allSatisfy(result.standardOutput.contains), "\(result)")
      #expect(!result.standardOutput.contains("\"turnedColumnsPerSecond\":null"), "\(result)")
    }
  }
}
