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
