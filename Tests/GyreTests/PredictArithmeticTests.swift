import Foundation
import TestSupport
import Testing

/// What gyre predict says of jobs that do not compute in f32.
@Suite("gyre predict, arithmetic")
struct PredictArithmeticTests {
  private func predict(_ arguments: [String]) async throws -> CommandResult {
    try await MPIJob.runAlone(program: "gyre", arguments: ["predict"] + arguments)
  }

  private func rows(_ arguments: [String]) async throws -> [[String: Any]] {
    let result = try await predict(arguments + ["--format", "json"])
    #expect(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require((object as? [String: Any])?["results"] as? [[String: Any]])
  }

  @Test("products of bf16 numbers are as fast as was measured of them, and travel as bf16")
  func arithmetic() async throws {
    let folder = try TemporaryFolder()
    func file(_ kinds: (dtype: String, field: String, rate: Double)...) throws -> String {
      let rows = kinds.map { dtype, field, rate in
        """
        {"pass":"forward","tokens":1024,"queries":1024,"queryHeads":2,"kvHeads":2,"headDim":16,\
        "causal":false,"dtype":"\(dtype)","arithmetic":\(field),"threads":1,"copies":1,\
        "reproducible":false,"flopsPerSecond":\(rate)}
        """
      }
      let text = """
        {"benchmark":"kernel","environment":{},"keys":["pass","dtype","arithmetic"],\
        "results":[\(rows.joined(separator: ","))]}
        """
      let path = folder.path + "/\(kinds.count).json"
      try Data(text.utf8).write(to: URL(filePath: path))
      return path
    }
    let both = try file(("f32", "null", 1e9), ("bf16", "\"bf16\"", 3e9))
    let problem = [
      "--tokens", "1024", "--heads", "2", "--head-dim", "16", "--ranks", "1,2", "--network",
      "1gbit", "--results",
    ]
    let float = try await rows(problem + [both])
    let short = try await rows(problem + [both, "--arithmetic", "bf16"])
    for (rows, rate, bytes) in [(float, 1e9, 4.0), (short, 3e9, 2.0)] {
      let seconds = 4.0 * 16 * 2 * 1024 * 1024 / rate
      #expect(abs((rows[0]["seconds"] as? Double ?? 0) / seconds - 1) < 1e-6, "\(rows)")
      // Keys and values of half of the tokens.
      #expect(rows[1]["bytesSentPerRank"] as? Double == 2 * 512 * 2 * 16 * bytes, "\(rows)")
    }
    #expect(short[0]["arithmetic"] as? String == "bf16" && float[0]["arithmetic"] is NSNull)
    let alone = try file(("f32", "null", 1e9))
    let missing = try await predict(problem + [alone, "--arithmetic", "bf16"])
    #expect(missing.standardError.contains("--arithmetic bf16 --format json"), "\(missing)")
  }
}
