import Foundation
import Tensors
import TestSupport
import Testing

@Suite("gyre attend --etc-radius")
struct EtcTests {
  private func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["attend"] + arguments, ranks: ranks)
  }

  private let names = ["o", "lse", "dq", "dk", "dv", "detc_k", "detc_bias"]

  @Test("both passes hold, and are the same bits on any number of ranks")
  func bits() async throws {
    let folder = try TemporaryFolder()
    func run(_ options: [String], ranks: Int) async throws -> String {
      let path = folder.path + "/out\(ranks)-\(options.count).safetensors"
      let result = try await attend(
        [
          "--random", "2x803x4x2x24", "--etc-radius", "20", "--globals", "0-4", "--rope", "half",
          "--gradients", "--verify", "--reproducible", "--report", "json", "--output", path,
        ] + options, ranks: ranks)
      #expect(result.isSuccess && result.standardOutput.contains("\"etc-radius\":\"20:0-4\""))
      return path
    }
    let one = try await run([], ranks: 1)
    let three = try await run(["--transport", "ring", "--layout", "contiguous"], ranks: 3)
    let others = [
      try await run(["--transport", "query", "--backward-route", "query"], ranks: 3),
      try await run(["--transport", "mesh:2x2"], ranks: 4),
    ]
    for (path, name) in others.flatMap({ path in names.map { (path, $0) } }) {
      #expect(try read(one, name).values == read(path, name).values, "\(name) of \(path)")
    }
    for name in names {
      let values = try read(one, name).values
      #expect(values == (try read(three, name).values) && values.contains { $0 != 0 }, "\(name)")
    }
    #expect(try read(one, "detc_k").shape == [2, 4, 27, 24])
  }

  @Test("a radius over all and tables of zeros are attention as it is")
  func plain() async throws {
    let folder = try TemporaryFolder()
    let tensors = [
      TestTensor("q", [1, 50, 4, 16]), TestTensor("k", [1, 50, 2, 16]),
      TestTensor("v", [1, 50, 2, 16]), TestTensor("do", [1, 50, 4, 16]),
    ]
    func zeros(_ name: String, _ shape: Shape) -> TestTensor {
      var tensor = TestTensor(name, shape)
      tensor.values = tensor.values.map { _ in 0 }
      return tensor
    }
    let input = try folder.safetensors(
      tensors + [zeros("etc_k", [2, 4, 32, 16]), zeros("etc_bias", [2, 4, 32])])
    var outputs: [[Float]] = []
    for options in [["--etc-radius", "50", "--globals", "0"], []] {
      let path = folder.path + "/out\(options.count).safetensors"
      let result = try await attend([input, "--verify", "--output", path] + options, ranks: 2)
      #expect(result.isSuccess, "\(result)")
      outputs.append(try read(path, "o").values)
    }
    #expect(relativeError(outputs[0], outputs[1]) < 1e-6)
    let bare = try folder.safetensors(tensors, name: "bare.safetensors")
    let short = try folder.safetensors(
      tensors + [zeros("etc_k", [2, 4, 12, 16]), zeros("etc_bias", [2, 4, 12])],
      name: "short.safetensors")
    for (path, words) in [
      (bare, "--etc-radius needs tables etc_k [2, 4, labels, 16], with 27 labels or more"),
      (short, "etc_k is [2, 4, 12, 16] and etc_bias [2, 4, 12]; give etc_k"),
    ] {
      let refused = try await attend(
        [path, "--etc-radius", "3", "--globals", "0"], ranks: 2)
      #expect(!refused.isSuccess && refused.standardError.contains(words), "\(refused)")
    }
    // Labels whose distances end earlier.
    let near = try await attend(
      [short, "--etc-radius", "3", "--etc-distance", "4", "--gradients", "--verify"], ranks: 2)
    #expect(near.isSuccess, "\(near)")
  }

  @Test(
    "what makes no sense is refused in one sentence",
    arguments: [
      (["--etc-radius", "-1"], "--etc-radius is -1; give at least 0"),
      (["--etc-radius", "3", "--window", "9"], "--window and --etc-radius both say"),
      (["--etc-distance", "3"], "--etc-distance is of the labels of --etc-radius"),
      (["--etc-radius", "3", "--dilated", "16:1"], "--etc-radius cannot be used with --dilated"),
    ])
  func refused(options: [String], words: String) async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend", "--random", "1x64x2x2x16"] + options)
    #expect(result.ending == .exited(64) && result.standardError.contains(words), "\(result)")
  }
}
