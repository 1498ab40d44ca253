import Foundation
import TestSupport
import Testing

/// Multi-head latent attention: keys of 576 columns, values of 512, in one KV head.
@Suite("Head dims of latent attention")
struct HeadDimTests {
  private let problem = ["attend", "--random", "1x190x4x1x576x512", "--gradients", "--verify"]

  private func expectSuccess(_ arguments: [String], ranks: Int) async throws {
    let result = try await MPIJob.run(program: "gyre", arguments: arguments, ranks: ranks)
    #expect(result.isSuccess, "\(arguments): \(result)")
  }

  @Test(
    "by every transport, checked",
    arguments: ["ring", "shared", "hierarchical", "allgather", "query", "heads", "mesh"])
  func transports(transport: String) async throws {
    try await expectSuccess(
      problem + ["--causal", "--transport", transport]
        + (transport == "hierarchical" ? ["--ranks-per-host", "2"] : []), ranks: 4)
  }

  @Test("on every wire, checked", arguments: ["f16", "bf16", "int8"])
  func wires(wire: String) async throws {
    try await expectSuccess(problem + ["--wire", wire], ranks: 2)
  }

  @Test("reproducible and dilated, checked")
  func ways() async throws {
    try await expectSuccess(problem + ["--reproducible"], ranks: 2)
    try await expectSuccess(problem + ["--dilated", "32:1,190:3", "--causal"], ranks: 3)
    let stream = [
      "stream", "--random", "1x190x4x1x576x512", "--dilated", "32:1,190:3", "--window", "64",
      "--verify",
    ]
    try await expectSuccess(stream, ranks: 2)
  }

  @Test("in measurements and predictions")
  func commands() async throws {
    let dims = ["--head-dim", "576", "--value-head-dim", "512"]
    let kernel = try await MPIJob.runAlone(
      program: "gyre",
      arguments: ["bench", "kernel", "--tokens", "128", "--repeats", "1", "--causal", "false"]
        + dims)
    #expect(kernel.isSuccess && kernel.standardOutput.contains("576/512"), "\(kernel)")
    let memory = try await BenchRows(
      [
        "memory", "--tokens", "2048", "--ranks", "2", "--heads", "8", "--kv-heads", "1", "--causal",
        "false",
      ] + dims, ranks: 2)
    for row in memory.rows {
      #expect(row["valueHeadDim"] as? Int == 512)
      #expect((0.7...1.3).contains(row["ratio"] as? Double ?? 0), "\(row)")
    }
    let predict = try await MPIJob.runAlone(
      program: "gyre",
      arguments: [
        "predict", "--tokens", "1M", "--ranks", "8", "--flops", "50G", "--network", "10gbit",
        "--network-latency", "5us", "--format", "json",
      ] + dims)
    #expect(predict.isSuccess, "\(predict)")
    #expect(predict.standardOutput.contains("\"valueHeadDim\":512"), "\(predict)")
    let tooLarge = try await MPIJob.runAlone(
      program: "gyre", arguments: ["bench", "kernel", "--value-head-dim", "577"])
    #expect(tooLarge.ending == .exited(64), "\(tooLarge)")
    #expect(tooLarge.standardError.contains("1 to 576"), "\(tooLarge)")
  }
}
