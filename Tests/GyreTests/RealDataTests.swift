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
    for (kind, flags) in [("causal", ["--causal"]), ("full", [])] {
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
    #expect(folder.names == ["causal.safetensors", "full.safetensors"])
  }
}
