import Foundation
import TestSupport
import Testing

/// What gyre predict says of score rules and positions.
@Suite("gyre predict, rules and positions")
struct PredictRuleTests {
  private func predict(_ arguments: [String]) async throws -> CommandResult {
    try await MPIJob.runAlone(program: "gyre", arguments: ["predict"] + arguments)
  }

  private let problem = [
    "--tokens", "1024", "--heads", "2", "--kv-heads", "1", "--head-dim", "16", "--ranks", "1,2",
    "--network", "1000gbit", "--format", "json",
  ]

  /// Kernels that compute as fast as is said, without and with rules.
  private func results(_ folder: TemporaryFolder, turned: String) throws -> String {
    let kernels = [("null", "false", 1e9), ("30", "false", 5e8), ("null", "true", 8e8)]
    let rows = kernels.map { softcap, alibi, rate in
      """
      {"pass":"forward","tokens":1024,"queries":1024,"queryHeads":2,"kvHeads":2,"headDim":16,\
      "causal":false,"dtype":"f32","threads":1,"copies":1,"reproducible":false,"rope":null,\
      "softcap":\(softcap),"alibi":\(alibi),"flopsPerSecond":\(rate)}
      """
    }
    let rope = """
      {"pass":"forward","tokens":1024,"queries":1024,"queryHeads":2,"kvHeads":2,"headDim":16,\
      "causal":false,"dtype":"f32","threads":2,"copies":1,"reproducible":false,"rope":"half",\
      "softcap":null,"alibi":false,"flopsPerSecond":1,"turnedColumnsPerSecond":\(turned)}
      """
    let text = """
      {"benchmark":"kernel","environment":{},"keys":["softcap","alibi","rope"],\
      "results":[\((rows + [rope]).joined(separator: ","))]}
      """
    let path = folder.path + "/\(turned).json"
    try Data(text.utf8).write(to: URL(filePath: path))
    return path
  }

  @Test("rules are as fast as was measured of them, and turning takes what it took")
  func measured() async throws {
    let folder = try TemporaryFolder()
    let path = try results(folder, turned: "4e6")
    let pairs = 4.0 * 16 * 2 * 1024 * 1024
    // Two threads turned four million columns a second.
    let turning = Double(1024 * 3 * 16) / 2e6
    for (options, seconds, field) in [
      ([], pairs / 1e9, "\"alibi\":false"), (["--softcap", "5"], pairs / 5e8, "\"softcap\":5"),
      (["--alibi"], pairs / 8e8, "\"alibi\":true"),
      (["--rope", "half"], pairs / 1e9 + turning, "\"rope\":\"half\""),
    ] {
      let result = try await predict(problem + ["--results", path] + options)
      #expect(result.isSuccess && result.standardOutput.contains(field), "\(result)")
      let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
      let rows = try #require((object as? [String: Any])?["results"] as? [[String: Any]])
      for (row, ranks) in zip(rows, [1.0, 2]) {
        let found = row["seconds"] as? Double ?? 0
        // Two ranks exchange blocks as well.
        #expect(abs(found / (seconds / ranks) - 1) < (ranks == 1 ? 1e-6 : 0.01), "\(row)")
        #expect((row["efficiency"] as? Double ?? 0) > 0.98, "\(row)")
      }
    }
  }

  @Test("tensors count in the memory; groups of xPos and projections are passes of the same pairs")
  func parts() async throws {
    func rows(_ options: [String]) async throws -> [(memory: Double, flops: Double, time: Double)] {
      let result = try await predict(problem + ["--flops", "1G"] + options)
      #expect(result.isSuccess, "\(result)")
      let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
      let rows = try #require((object as? [String: Any])?["results"] as? [[String: Any]])
      return rows.map { row in
        func number(_ name: String) -> Double { row[name] as? Double ?? .nan }
        return (number("residentBytes"), number("flops"), number("seconds"))
      }
    }
    let causal = try await rows(["--causal", "--rope", "half"])
    let tensors = try await rows(
      ["--causal", "--rope", "half", "--bias", "--learned-sinks", "--position-ids"])
    // Two heads of a rank's own queries and all keys, and two positions of each token.
    for (ranks, (plain, own)) in zip([1.0, 2], zip(causal, tensors)) {
      #expect(own.memory - plain.memory == 2 * 4 * 1024 / ranks * 1024 + 8 * 1024)
      #expect(own.flops == plain.flops && own.time == plain.time)
    }
    // Keys that travel as int8 are two groups.
    for options in [["--xpos"], ["--xpos", "--wire", "int8"]] {
      for (plain, own) in zip(causal, try await rows(["--causal"] + options)) {
        #expect(abs(own.flops / plain.flops - 1) < 0.01, "\(options)")
        #expect(own.time >= 0.99 * plain.time && own.time < 2 * plain.time, "\(options)")
      }
    }
    let window = ["--window", "64", "--globals", "0-3"]
    let split = try await rows(window + ["--global-projections"])
    for (plain, own) in zip(try await rows(window), split) {
      #expect(abs(own.flops / plain.flops - 1) < 0.01)
      #expect(own.memory > plain.memory)
    }
    let labels = try await rows(["--etc-radius", "63", "--globals", "0-3"])
    #expect(zip(labels, split).allSatisfy { abs($0.flops / $1.flops - 1) < 0.01 })
    let cached = ["--causal", "--window", "64", "--sinks", "4", "--rope", "half"]
    for (plain, own) in zip(
      try await rows(cached), try await rows(cached + ["--sink-positions", "cache"]))
    {
      #expect(own.flops == plain.flops && own.memory > plain.memory)
    }
  }

  @Test("what was not measured is guessed, and said")
  func guessed() async throws {
    let folder = try TemporaryFolder()
    let path = try results(folder, turned: "0")
    for (options, words) in [
      (["--softcap", "5", "--alibi"], "no kernel was measured with --softcap --alibi"),
      (["--rope", "half"], "nobody has measured gyre bench kernel --rope"),
    ] {
      let result = try await predict(problem + ["--results", path] + options)
      #expect(result.isSuccess && result.standardOutput.contains(words), "\(result)")
    }
  }

  @Test(
    "what is not predicted is refused",
    arguments: [
      (["--xpos"], "later ones more and more; give --causal"),
      (["--position-ids"], "--position-ids says where tokens stand, and nothing asks"),
      (["--sink-positions", "cache", "--alibi"], "give --causal, --window and --sinks with it"),
      (["--bias", "--dilated", "16:1"], "branches are one mask of dense attention"),
      (["--global-projections"], "--global-projections are of --globals"),
      (["--rope", "half", "--rope-dim", "18"], "give --rope-dim with an even number"),
    ])
  func refused(options: [String], words: String) async throws {
    let result = try await predict(problem + ["--flops", "80G"] + options)
    #expect(result.ending == .exited(64) && result.standardError.contains(words), "\(result)")
  }
}
