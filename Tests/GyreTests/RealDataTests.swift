import Foundation
import Tensors
import TestSupport
import Testing

/// Queries, keys and values of a trained language model, against answers computed elsewhere in
/// double precision.
@Suite("gyre attend on real tensors", .enabled(if: SharedData.exists))
struct RealDataTests {
  @Test(
    "equals the expected output for every number of ranks, in every layout",
    arguments: [
      (1, "contiguous", true), (2, "striped", false), (3, "contiguous", false),
      (3, "zigzag", true), (3, "striped", false), (4, "zigzag", false), (5, "striped", true),
      (7, "contiguous", true), (8, "zigzag", false), (8, "striped", false),
    ])
  func agrees(ranks: Int, layout: String, isAlsoFull: Bool) async throws {
    let folder = try TemporaryFolder()
    for (kind, flags) in [("causal", ["--causal"])] + (isAlsoFull ? [("full", [])] : []) {
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
    #expect(folder.names == ["causal.safetensors"] + (isAlsoFull ? ["full.safetensors"] : []))
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
