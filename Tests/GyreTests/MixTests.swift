import Tensors
import TestSupport
import Testing

@Suite("gyre mix")
struct MixTests {
  private func mix(_ arguments: [String], ranks: Int = 1) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["mix"] + arguments, ranks: ranks)
  }

  private static let rwkv = [
    TestTensor("r", [2, 11, 5]), TestTensor("k", [2, 11, 5]), TestTensor("v", [2, 11, 5]),
    TestTensor("w", [5]), TestTensor("u", [5]), TestTensor("do", [2, 11, 5]),
  ]

  @Test("a file gives the same on one rank and on more ranks than tokens")
  func ranks() async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors(Self.rwkv)
    var outputs: [[[Float]]] = []
    for ranks in [1, 3, 13] {
      let output = folder.path + "/\(ranks).safetensors"
      let result = try await mix(
        ["rwkv4", input, "--gradients", "--verify", "--output", output], ranks: ranks)
      #expect(
        result.isSuccess && result.standardOutput.contains("Check of gradients"), "\(result)")
      outputs.append(
        try ["o", "state", "dr", "dk", "dv", "dw", "du"].map { try read(output, $0).values })
    }
    for others in outputs.dropFirst() {
      for (values, expected) in zip(others, outputs[0]) {
        #expect(relativeError(values, expected) <= 1e-5)
      }
    }
  }

  @Test("the state of one run goes on in the next")
  func state() async throws {
    let folder = try TemporaryFolder()
    func tokens(_ range: Range<Int>, _ state: [Float]?) throws -> String {
      var parts = Self.rwkv.dropLast().map { tensor in
        guard tensor.shape.rank == 3 else { return tensor }
        var part = TestTensor(tensor.name, [2, range.count, 5])
        part.values = [0, 1].flatMap { batch in
          tensor.values[(batch * 11 + range.lowerBound) * 5..<(batch * 11 + range.upperBound) * 5]
        }
        return part
      }
      if let state {
        var tensor = TestTensor("state", [2, 5, 3])
        tensor.values = state
        parts.append(tensor)
      }
      return try folder.safetensors(parts, name: "\(range.lowerBound).safetensors")
    }
    func run(_ input: String) async throws -> (o: [Float], state: [Float]) {
      let output = folder.path + "/output.safetensors"
      let result = try await mix(["rwkv4", input, "--output", output], ranks: 2)
      try #require(result.isSuccess, "\(result)")
      return (try read(output, "o").values, try read(output, "state").values)
    }
    let whole = try await run(tokens(0..<11, nil))
    let first = try await run(tokens(0..<4, nil))
    let second = try await run(tokens(4..<11, first.state))
    var joined: [Float] = []
    for batch in 0...1 {
      joined += first.o[batch * 20..<batch * 20 + 20]
      joined += second.o[batch * 35..<batch * 35 + 35]
    }
    // Ranks give those after them a head start, so that the last digits depend on who has what.
    func isNear(_ found: [Float], _ expected: [Float]) -> Bool {
      found.count == expected.count
        && zip(found, expected).allSatisfy { abs($0 - $1) <= 2e-6 * (1 + abs($1)) }
    }
    #expect(isNear(joined, whole.o))
    #expect(isNear(second.state, whole.state))
  }

  @Test("random tensors, a report in JSON, and any layout for sums")
  func report() async throws {
    let result = try await mix(
      [
        "sima", "--random", "1x50x2x5x3", "--layout", "striped", "--gradients", "--verify",
        "--report", "json", "--threads", "1",
      ], ranks: 3)
    #expect(
      result.isSuccess && result.standardOutput.contains("\"mixer\":\"sima\"")
        && result.standardOutput.contains("\"checkedUnits\":2"), "\(result)")
  }

  @Test("numbers next to a kink do not make the check of gradients fail")
  func kinks() async throws {
    let result = try await mix(
      ["cosformer", "--random", "1x64x8x64", "--causal", "--gradients", "--verify"])
    #expect(result.isSuccess, "\(result)")
  }

  @Test(
    "what cannot be computed is said in a sentence",
    arguments: [
      (["cosformer", "--random", "1x9x1x4", "--causal", "--layout", "zigzag"], "contiguous", 64),
      (["cosformer", "--random", "1x9x1x4", "--length", "8"], "--length is 8", 64),
      (["sima", "--random", "1x9x1x4", "--causal"], "means nothing to sima", 64),
      (["mamba", "--random", "1x9x1"], "batchxtokensxchannelsxstate", 64),
      (["relu", "--random", "1x9x3x4x4x2"], "a multiple of 2", 64),
      (["mamba2", "--random", "1x9x3x4x4x2"], "of 2 groups", 64),
      (["sima", "--random", "1x9x1x4", "--normalize", "visible"], "means nothing to sima", 64),
      (["aft", "--random", "1x9x4", "--variant", "local:0"], "give full, simple, local:S", 64),
      (["aft", "--random", "1x9x4x3", "--variant", "conv:2"], "do not divide 4 channels", 64),
      (
        ["aft", "--random", "1x9x4", "--variant", "local:2", "--layout", "striped"], "contiguous",
        64
      ),
      (["deltanet", "--random", "1x9x1x4", "--chunk", "0"], "--chunk is 0", 64),
      (
        ["led", "--random", "1x9x4x2x5", "--factorize", "2", "--gradients"],
        "goes with factors", 64
      ),
      (["led", "--random", "1x9x4x5x5", "--factorize", "5"], "a rank of at most 4", 64),
      (["soft", "--random", "1x9x1x4", "--landmarks", "10"], "give at most 9", 64),
      (["infonce", "--random", "1x9x4x2", "--steps", "3"], "W has 2", 64),
      (["infonce", "--random", "1x9x4x2", "--temperature", "0"], "a finite number above 0", 64),
      (["swirl", "--random", "1x9x1"], "swirl", 64),
      (["sima"], "There is no input", 64),
    ])
  func refusals(arguments: [String], words: String, code: Int) async throws {
    let result = try await mix(arguments, ranks: 2)
    #expect(
      result.ending == .exited(code) && result.standardError.contains(words), "\(result)")
  }

  @Test("Linformer with projections for each head of keys, which query heads share")
  func projections() async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors([
      TestTensor("q", [1, 11, 4, 3]), TestTensor("k", [1, 11, 2, 3]),
      TestTensor("v", [1, 11, 2, 5]), TestTensor("e", [2, 11, 4]), TestTensor("f", [11, 4]),
      TestTensor("do", [1, 11, 4, 5]),
    ])
    let output = folder.path + "/output.safetensors"
    let result = try await mix(
      [
        "linformer", input, "--gradients", "--warm-ups", "1", "--verify", "--output", output,
      ], ranks: 3)
    #expect(result.isSuccess, "\(result)")
    #expect(try read(output, "de").values.count == 2 * 11 * 4)
  }

  @Test("tensors that are missing or do not fit are named")
  func tensors() async throws {
    let folder = try TemporaryFolder()
    let missing = try folder.safetensors([TestTensor("k", [1, 3, 2])], name: "a.safetensors")
    var result = try await mix(["rwkv4", missing])
    #expect(
      !result.isSuccess && result.standardError.contains("needs a tensor v [batch, tokens"),
      "\(result)")
    let other = try folder.safetensors(
      [
        TestTensor("k", [1, 3, 2]), TestTensor("v", [1, 3, 2]), TestTensor("w", [4]),
        TestTensor("u", [2]),
      ], name: "b.safetensors")
    result = try await mix(["rwkv4", other])
    #expect(
      !result.isSuccess && result.standardError.contains("whose channels is 2 in a tensor before"),
      "\(result)")
  }
}
