import Foundation
import Tensors
import TestSupport
import Testing

/// Queries, keys and values of a trained language model, against answers computed elsewhere in
/// double precision.
@Suite("gyre attend on real tensors", .enabled(if: SharedData.exists))
struct RealDataTests {
  @Test(
    "equals the expected output for every number of ranks and layout",
    arguments: [1, 2, 3, 4, 5, 7, 8], ["contiguous", "zigzag", "striped"])
  func agrees(ranks: Int, layout: String) async throws {
    let folder = try TemporaryFolder()
    // Full attention in the layouts in turn: there they differ in nothing but who holds what.
    let isTurn = ["contiguous", "zigzag", "striped"][ranks % 3] == layout
    for (kind, flags) in [("causal", ["--causal"])] + (isTurn ? [("full", [])] : []) {
      let output = folder.path + "/\(kind).safetensors"
      let result = try await MPIJob.run(
        program: "gyre",
        arguments: [
          "attend", SharedData.path + "/real-qkv.safetensors", "--output", output, "--layout",
          layout,
        ] + flags, ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      for name in ["o", "lse"] {
        let actual = try read(output, name)
        let expected = try read(SharedData.path + "/real-qkv-\(kind).safetensors", name)
        #expect(actual.shape == expected.shape)
        #expect(relativeError(actual.values, expected.values) <= 1e-5)
      }
    }
    #expect(folder.names == ["causal.safetensors"] + (isTurn ? ["full.safetensors"] : []))
  }

  @Test("reproducible: the same bytes, gradients included, for any ranks, layout and threads")
  func reproducible() async throws {
    let folder = try TemporaryFolder()
    let path = SharedData.path + "/real-qkv.safetensors"
    var tensors: [TestTensor] = []
    for name in ["q", "k", "v"] {
      let (shape, values) = try read(path, name)
      var tensor = TestTensor(name, shape)
      tensor.values = values
      tensors.append(tensor)
    }
    tensors.append(TestTensor("do", tensors[0].shape))
    let input = try folder.safetensors(tensors)
    var first: Data?
    for (ranks, layout, transport, threads) in [
      (1, "zigzag", "ring", "2"), (2, "contiguous", "shared", "1"), (3, "striped", "ring", "2"),
      (5, "zigzag", "allgather", "1"), (8, "contiguous", "ring", "1"),
    ] {
      let output = folder.path + "/output.safetensors"
      let result = try await MPIJob.run(
        program: "gyre",
        arguments: [
          "attend", input, "--gradients", "--causal", "--reproducible", "--output", output,
          "--layout", layout, "--transport", transport, "--threads", threads,
        ], ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      let file = try Data(contentsOf: URL(filePath: output))
      let isSame = first.map { $0 == file } ?? true
      #expect(isSame, "\(ranks) ranks, \(layout), \(transport), \(threads) threads")
      first = first ?? file
    }
  }
}
