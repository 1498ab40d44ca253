import Foundation
import TestSupport
import Testing

@Suite("gyre attend --softcap")
struct SoftCapTests {
  private func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["attend"] + arguments, ranks: ranks)
  }

  @Test(
    "both passes hold, and the report says so",
    arguments: [(1, "f32", "ring"), (3, "bf16", "query"), (2, "int8", "heads")])
  func verified(ranks: Int, wire: String, transport: String) async throws {
    let result = try await attend(
      [
        "--random", "2x203x4x2x24", "--causal", "--gradients", "--softcap", "0.5", "--verify",
        "--wire", wire, "--transport", transport, "--report", "json",
      ], ranks: ranks)
    #expect(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    let report = try #require(object as? [String: Any])
    #expect(report["softcap"] as? Double == 0.5)
    #expect(report["maxGradientError"] is Double && report["checkedRows"] as? Int == 32)
  }

  @Test("the text says what became of scores, and a cap changes outputs")
  func text() async throws {
    let capped = try await attend(["--random", "1x64x2x1x16", "--softcap", "0.5"], ranks: 1)
    #expect(capped.standardOutput.contains("head dim 16, scores capped at ±0.5, "), "\(capped)")
    let folder = try TemporaryFolder()
    var files: [[UInt8]] = []
    for (name, options) in [("a", []), ("b", ["--softcap", "0.5"]), ("c", ["--softcap", "1e5"])] {
      let output = "\(folder.path)/\(name).safetensors"
      let result = try await attend(
        ["--random", "1x64x2x1x16", "--output", output] + options, ranks: 1)
      #expect(result.isSuccess, "\(result)")
      files.append(try folder.bytes("\(name).safetensors"))
    }
    #expect(files[0] != files[1] && files[1] != files[2])
  }

  @Test(
    "what makes no sense is refused in one sentence",
    arguments: [
      ["--softcap", "0"], ["--softcap", "-3"], ["--softcap", "nan"], ["--softcap", "1e60"],
    ])
  func refused(options: [String]) async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend", "--random", "1x64x2x1x16"] + options)
    #expect(!result.isSuccess)
    #expect(result.standardError.contains("--softcap is"), "\(result)")
    #expect(result.standardError.contains("give a positive number"), "\(result)")
  }

  @Test("the kernel's benchmark measures it")
  func bench() async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre",
      arguments: [
        "bench", "kernel", "--tokens", "64", "--repeats", "1", "--head-dim", "16", "--softcap", "5",
        "--format", "json",
      ])
    #expect(result.isSuccess, "\(result)")
    #expect(result.standardOutput.contains("\"softcap\":5"), "\(result)")
  }
}
