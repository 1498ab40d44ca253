import Foundation
import Tensors
import TestSupport
import Testing

@Suite("gyre attend --rope and --alibi")
struct PositionTests {
  private func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["attend"] + arguments, ranks: ranks)
  }

  @Test(
    "both passes hold, and the report says so",
    arguments: [
      (1, ["--rope", "half"], "rope", "half"),
      (
        3, ["--rope", "interleaved", "--rope-theta", "500", "--rope-dim", "10"], "rope",
        "interleaved"
      ),
      (
        2, ["--rope", "half", "--rope-scaling", "yarn:4,200", "--alibi"], "ropeScaling",
        "yarn:4,200"
      ),
      (2, ["--queries", "101", "--alibi", "--softcap", "2", "--rope", "half"], "rope", "half"),
      (
        3,
        [
          "--causal", "--window", "40", "--sinks", "3", "--sink-positions", "cache", "--rope",
          "half", "--alibi", "--queries", "333", "--learned-sinks",
        ], "sinkPositions", "cache"
      ),
      (
        4, ["--bias", "--softcap", "2", "--learned-sinks", "--alibi", "--transport", "mesh:2x2"],
        "sinkPositions", "original"
      ),
      (
        3, ["--bias", "--transport", "query", "--backward-route", "kv", "--layout", "striped"],
        "sinkPositions", "original"
      ),
      (2, ["--xpos", "--causal", "--bias", "--wire", "f16"], "rope", "interleaved"),
      (3, ["--rope", "half", "--wire", "bf16", "--layout", "striped"], "wire", "bf16"),
      (2, ["--rope", "half", "--causal", "--dilated", "64:1,256:4"], "rope", "half"),
      (
        3,
        [
          "--dilated", "16:1,256:4", "--alibi", "--softcap", "2", "--learned-sinks",
          "--placement", "units",
        ], "sinkPositions", "original"
      ),
      (
        3, ["--dilated", "64:1,256:4", "--causal", "--bias", "--xpos", "--transport", "ring"],
        "rope", "interleaved"
      ),
      (
        3,
        [
          "--xpos", "--causal", "--structured", "--window", "40", "--sinks", "3", "--alibi",
          "--sink-positions", "cache", "--bias", "--queries", "333",
        ], "sinkPositions", "cache"
      ),
      (
        2,
        [
          "--rope", "half", "--causal", "--parallel-windows", "--window-align", "right",
          "--window", "40", "--sinks", "3", "--sink-positions", "cache",
        ], "sinkPositions", "cache"
      ),
    ])
  func verified(ranks: Int, options: [String], field: String, value: String) async throws {
    let result = try await attend(
      ["--random", "2x403x4x2x24", "--gradients", "--verify", "--report", "json"] + options,
      ranks: ranks)
    #expect(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    let report = try #require(object as? [String: Any])
    #expect(report["maxGradientError"] is Double && report[field] as? String == value)
    #expect(report["alibi"] as? Bool == options.contains("--alibi"))
  }

  @Test("rows are turned by their places in the sequence, whoever holds them")
  func outputs() async throws {
    let folder = try TemporaryFolder()
    func output(_ name: String, _ options: [String], ranks: Int) async throws -> [UInt8] {
      let result = try await attend(
        [
          "--random", "1x1600x2x1x16", "--output", "\(folder.path)/\(name).safetensors",
          "--gradients", "--reproducible",
        ] + options, ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      return try folder.bytes("\(name).safetensors")
    }
    let plain = try await output("plain", [], ranks: 1)
    let turned = try await output("turned", ["--rope", "half"], ranks: 1)
    let biased = try await output("biased", ["--alibi"], ranks: 1)
    #expect(Set([plain, turned, biased]).count == 3)
    #expect(try await output("turned3", ["--rope", "half"], ranks: 3) == turned)
    #expect(try await output("biased2", ["--alibi"], ranks: 2) == biased)
  }

  @Test("slopes come from the input, one for each query head")
  func slopes() async throws {
    let folder = try TemporaryFolder()
    func attend(_ slopes: [Float]?, name: String) async throws -> (CommandResult, [UInt8]?) {
      var tensors = ["q", "k", "v"].map { TestTensor($0, [1, 90, 2, 16]) }
      if let slopes {
        tensors.append(TestTensor("alibi_slopes", [slopes.count]))
        tensors[3].values = slopes
      }
      let input = try folder.safetensors(tensors, name: "in-\(name).safetensors")
      let result = try await self.attend(
        [
          input, "--alibi", "--causal", "--verify", "--output",
          "\(folder.path)/\(name).safetensors",
        ], ranks: 2)
      return (result, result.isSuccess ? try folder.bytes("\(name).safetensors") : nil)
    }
    // The published slopes of two heads are 2^(−4) and 2^(−8).
    let published = try await attend(nil, name: "published")
    let same = try await attend([0.0625, 0.00390625], name: "same")
    let other = try await attend([0.5, 0.25], name: "other")
    #expect(published.1 != nil && published.1 == same.1, "\(published) \(same)")
    #expect(other.1 != nil && other.1 != same.1, "\(other)")
    let wrong = try await attend([0.5, 0.25, 0.1], name: "wrong")
    #expect(
      wrong.0.standardError.contains("alibi_slopes is [3], and there are 2 query heads"),
      "\(wrong)")
  }

  @Test("factors of LongRoPE come from a file")
  func files() async throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/config.json"
    func config(_ count: Int, _ rest: String) throws {
      let factors = Array(repeating: "1.5", count: count).joined(separator: ",")
      try Data(
        """
        {"max_position_embeddings": 4096, "rope_scaling": {"rope_type": "longrope", \
        "short_factor": [\(factors)], "long_factor": [\(factors)]}\(rest)}
        """.utf8
      ).write(to: URL(filePath: path))
    }
    let run = [
      "--random", "1x300x2x1x16", "--rope", "half", "--rope-scaling", "longrope:\(path)",
      "--gradients", "--verify",
    ]
    try config(8, ", \"original_max_position_embeddings\": 128")
    let good = try await attend(run, ranks: 2)
    #expect(good.isSuccess && good.standardOutput.contains("rotary positions scaled by longrope"))
    try config(7, ", \"original_max_position_embeddings\": 128")
    let short = try await attend(run, ranks: 2)
    #expect(short.standardError.contains("and there are 8 pairs of columns"), "\(short)")
    try config(8, "")
    let unknown = try await attend(run, ranks: 2)
    #expect(unknown.standardError.contains("original_max_position_embeddings"), "\(unknown)")
    try Data("{}".utf8).write(to: URL(filePath: path))
    let empty = try await attend(run, ranks: 2)
    #expect(empty.standardError.contains("no short_factor and long_factor"), "\(empty)")
    let missing = try await attend(
      ["--random", "1x8x2x1x16", "--rope", "half", "--rope-scaling", "longrope:/nowhere/c.json"],
      ranks: 1)
    #expect(missing.standardError.contains("cannot be read"), "\(missing)")
  }

  @Test(
    "what makes no sense is refused in one sentence",
    arguments: [
      (["--rope-theta", "500"], "--rope-theta says something about rotary positions"),
      (["--rope-scaling", "linear:2"], "--rope-scaling says something about rotary positions"),
      (["--rope", "half", "--rope-dim", "5"], "--rope-dim is 5, and columns are turned in pairs"),
      (["--rope", "half", "--rope-dim", "18"], "--rope-dim is 18, and a head has 16 columns"),
      (["--rope", "half", "--rope-theta", "1"], "--rope-theta is 1.0; give a number above 1"),
      (["--rope", "half", "--rope-scaling", "yarn:4"], "give yarn:S,L"),
      (["--rope", "half", "--rope-scaling", "linear:0.5"], "give linear:S"),
      (["--rope", "half", "--rope-scaling", "llama3:8,4,1,8192"], "LOW below HIGH"),
      (["--rope", "half", "--rope-scaling", "yarm:4,8192"], "do you mean 'yarn'?"),
      (["--rope", "half", "--rope-scaling", "longrope"], "give longrope:FILE"),
      (
        ["--bias", "--dilated", "16:1", "--placement", "rate"],
        "with --bias they are one mask of dense attention"
      ),
      (
        [
          "--learned-sinks", "--dilated", "16:1", "--gradients", "--branch-weights-gradient",
          "detached",
        ], "--learned-sinks is one more part of them"
      ),
      (["--xpos"], "later ones more and more; give --causal"),
      (["--position-ids", "--alibi"], "which only a .safetensors input has"),
      (["--sink-positions", "cache", "--alibi"], "give --causal, --window and --sinks with it"),
      (
        ["--sink-positions", "cache", "--causal", "--window", "9", "--sinks", "2"],
        "give --rope or --alibi with it"
      ),
      (
        [
          "--sink-positions", "cache", "--causal", "--window", "9", "--sinks", "2", "--alibi",
          "--window-dilation", "3",
        ], "a window without gaps"
      ),
    ])
  func refused(options: [String], words: String) async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend", "--random", "1x64x2x2x16"] + options)
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.contains(words), "\(result)")
  }

  @Test("an odd head dim has no pairs of its own")
  func odd() async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend", "--random", "1x64x2x2x15", "--rope", "half"])
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.contains("the head dim is 15; give --rope-dim"), "\(result)")
  }
}
