import Foundation
import Tensors
import TestSupport
import Testing

@Suite("gyre attend")
struct AttendTests {
  /// Uneven in every way: two sequences, more keys than queries, another head dim for values.
  private static func unevenTensors(_ elementType: ElementType = .f32) -> [TestTensor] {
    [
      TestTensor("q", [2, 37, 4, 20], elementType),
      TestTensor("k", [2, 45, 2, 20], elementType),
      TestTensor("v", [2, 45, 2, 12], elementType),
    ]
  }

  private static func attend(
    _ arguments: [String], ranks: Int
  ) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["attend"] + arguments, ranks: ranks)
  }

  private func unevenTensors(_ elementType: ElementType = .f32) -> [TestTensor] {
    Self.unevenTensors(elementType)
  }

  private func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await Self.attend(arguments, ranks: ranks)
  }

  private func json(_ result: CommandResult) throws -> [String: Any] {
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require(object as? [String: Any])
  }

  @Test(
    "any number of ranks, any layout, any input type gives the same",
    arguments: [1, 2, 3, 4, 5, 7, 8])
  func sameForAllRanks(ranks: Int) async throws {
    let folder = try TemporaryFolder()
    for elementType in [ElementType.f32, .f16, .bf16] {
      let input = try folder.safetensors(unevenTensors(elementType))
      let one = try #require(try await Self.references.value[elementType])
      let layout = ["contiguous", "zigzag", "striped"][ranks % 3]
      let many = folder.path + "/many.safetensors"
      let result = try await attend(
        [
          input, "--output", many, "--causal", "--verify", "--layout", layout, "--threads", "2",
          "--transport", elementType == .f16 ? "query" : "ring",
        ], ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      #expect(try read(many, "o").shape == [2, 37, 4, 12])
      #expect(try read(many, "lse").shape == [2, 4, 37])
      for name in ["o", "lse"] {
        #expect(relativeError(try read(many, name).values, one[name] ?? []) <= 1e-5)
      }
    }
  }

  /// What one rank gives, of tensors of each type.
  private static let references = Task {
    var values: [ElementType: [String: [Float]]] = [:]
    for elementType in [ElementType.f32, .f16, .bf16] {
      let folder = try TemporaryFolder()
      let output = folder.path + "/one.safetensors"
      let result = try await attend(
        [
          folder.safetensors(unevenTensors(elementType)), "--output", output, "--causal",
          "--verify",
        ], ranks: 1)
      try #require(result.isSuccess, "\(result)")
      values[elementType] = [
        "o": try read(output, "o").values, "lse": try read(output, "lse").values,
      ]
    }
    return values
  }

  @Test("npy inputs give what the same tensors give in one file")
  func npy() async throws {
    let folder = try TemporaryFolder()
    for elementType in [ElementType.f32, .f16] {
      let tensors = unevenTensors(elementType)
      let paths = try tensors.map { try folder.file("\($0.name).npy", $0.npy) }
      let input = try folder.safetensors(tensors)
      let outputs = ["a", "b"].map { folder.path + "/\($0).safetensors" }
      let first = try await attend([input, "--output", outputs[0]], ranks: 3)
      let second = try await attend(
        ["--q", paths[0], "--k", paths[1], "--v", paths[2], "--output", outputs[1]], ranks: 3)
      #expect(first.isSuccess && second.isSuccess, "\(first)\n\(second)")
      #expect(try folder.bytes("a.safetensors") == folder.bytes("b.safetensors"))
    }
  }

  @Test("random tensors do not depend on the number of ranks, but on the seed")
  func random() async throws {
    let folder = try TemporaryFolder()
    func output(_ ranks: Int, _ seed: Int, _ layout: String) async throws -> [Float] {
      let path = folder.path + "/\(ranks)-\(seed).safetensors"
      let result = try await attend(
        [
          "--random", "2x61x4x2x24", "--seed", "\(seed)", "--output", path, "--layout", layout,
        ], ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      return try read(path, "o").values
    }
    let one = try await output(1, 7, "contiguous")
    #expect(relativeError(try await output(4, 7, "striped"), one) <= 1e-5)
    #expect(relativeError(try await output(5, 7, "zigzag"), one) <= 1e-5)
    #expect(relativeError(try await output(1, 8, "contiguous"), one) > 0.1)
  }

  @Test("scale, wire and weights do what they say")
  func options() async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors(unevenTensors())
    let zero = folder.path + "/zero.safetensors"
    let result = try await attend(
      [input, "--scale", "0", "--output", zero, "--weights", "3,0,1", "--report", "json"],
      ranks: 3)
    #expect(result.isSuccess, "\(result)")
    // Without scores every key weighs the same.
    #expect(try read(zero, "lse").values.allSatisfy { abs($0 - Float(log(45.0))) < 1e-5 })
    let ranks = try #require(try json(result)["perRank"] as? [[String: Any]])
    #expect(ranks.map { $0["tokens"] as? Int } == [28, 0, 9])

    let exact = folder.path + "/exact.safetensors"
    let narrow = folder.path + "/narrow.safetensors"
    let first = try await attend([input, "--output", exact], ranks: 2)
    let second = try await attend(
      [input, "--output", narrow, "--wire", "bf16", "--verify"], ranks: 2)
    #expect(first.isSuccess && second.isSuccess, "\(first)\n\(second)")
    let error = relativeError(try read(narrow, "o").values, try read(exact, "o").values)
    #expect(error > 1e-5 && error < 2e-2)
    #expect(
      second.standardOutput.contains(
        /allowed [0-9.e-]+, [0-9.e-]+ of it for rounding to bf16 on the wire: passed\./),
      "\(second)")
    #expect(!first.standardOutput.contains("on the wire:"), "\(first)")

    let eighth = try await attend(
      [input, "--wire", "int8", "--causal", "--verify", "--report", "json"], ranks: 3)
    #expect(eighth.isSuccess, "\(eighth)")
    let report = try json(eighth)
    #expect(report["wire"] as? String == "int8")
    let found = try #require(report["maxError"] as? Double)
    let tolerance = try #require(report["tolerance"] as? Double)
    // What int8 does to the inputs shows, and no more than that is allowed.
    #expect(found > 1e-4 && tolerance > found && tolerance < found + 3e-5)
    let ofWire = try #require(report["wireTolerance"] as? Double)
    #expect(ofWire > 1e-4 && ofWire < tolerance)
  }

  @Test("the JSON report has every field of the contract, and they are right")
  func report() async throws {
    let result = try await attend(
      [
        "--random", "2x512x4x2x32", "--causal", "--verify", "--report", "json", "--transport",
        "ring",
      ], ranks: 4)
    #expect(result.isSuccess, "\(result)")
    #expect(result.standardOutput.split(separator: "\n").count == 1)
    let report = try json(result)
    let integers = [
      "ranks": 4, "batch": 2, "tokens": 512, "queryHeads": 4, "kvHeads": 2, "headDim": 32,
      // Visible pairs · sequences · heads · 4 · headDim.
      "flops": 512 * 513 / 2 * 2 * 4 * 4 * 32,
      // (P − 1) · n · 2 · kvHeads · headDim · 4 bytes · sequences, in one message a hop.
      "bytesSentPerRank": 3 * 128 * 2 * 2 * 32 * 4 * 2, "messagesPerRank": 3,
    ]
    for (name, value) in integers { #expect(report[name] as? Int == value, "\(name)") }
    #expect(report["layout"] as? String == "zigzag")
    for name in ["seconds", "flopsPerSecond", "computeSeconds", "peakResidentBytes"] {
      #expect((report[name] as? Double ?? 0) > 0, "\(name)")
    }
    #expect((report["waitSeconds"] as? Double ?? -1) >= 0)
    #expect((report["imbalance"] as? Double ?? 0) >= 1)
    #expect(report["workImbalance"] as? Double == 1)
    #expect((report["maxError"] as? Double ?? 1) < 1e-5)

    let unchecked = try await attend(["--random", "1x8x1x1x4", "--report", "json"], ranks: 2)
    #expect(try json(unchecked)["maxError"] is NSNull)
    #expect(try json(unchecked)["layout"] as? String == "contiguous")
  }

  @Test("the text report has a line for each rank and the finding")
  func text() async throws {
    let result = try await attend(["--random", "1x64x2x1x16", "--causal", "--verify"], ranks: 3)
    #expect(result.isSuccess, "\(result)")
    let lines = result.standardOutput.split(separator: "\n")
    let header = try #require(lines.firstIndex { $0.contains("rank") && $0.contains("GFLOP/s") })
    #expect(
      lines[header...].dropFirst().prefix(3).map { $0.split(separator: " ")[0] } == [
        "0", "1", "2",
      ])
    #expect(result.standardOutput.contains("passed."))
    #expect(result.standardError.isEmpty)
  }

  @Test("memory stays at the shard, its output, three blocks and a constant", arguments: [2, 4])
  func memory(ranks: Int) async throws {
    let (tokens, heads, headDim) = (65_536, 4, 64)
    // A mask of one key in the first layout would be a toy; full attention over this length would
    // take minutes. Few queries against many keys keep the blocks large and the work small.
    let folder = try TemporaryFolder()
    let input = try folder.safetensors([
      TestTensor("q", [1, 64, heads, headDim]), TestTensor("k", [1, tokens, heads, headDim]),
      TestTensor("v", [1, tokens, heads, headDim]),
    ])
    let result = try await attend([input, "--report", "json"], ranks: ranks)
    #expect(result.isSuccess, "\(result)")
    let block = tokens / ranks * heads * headDim * 2 * 4
    let peak = try #require(try json(result)["peakResidentBytes"] as? Int)
    #expect(peak > 2 * block, "two blocks are held")
    #expect(peak < 3 * block + 96 << 20, "\(peak) bytes")

    // Where queries travel there is no other block than the own one.
    let queries = try await attend(
      [input, "--report", "json", "--transport", "query"], ranks: ranks)
    let peakOfQueries = try #require(try json(queries)["peakResidentBytes"] as? Int)
    #expect(peakOfQueries > block && peakOfQueries < peak - block * 3 / 4, "\(peakOfQueries) bytes")
  }

  @Test("one query against millions of keys takes their bytes, to the end of the run")
  func manyKeys() async throws {
    // An array with an element a position would take more than the keys do.
    let tokens = 16 << 20
    let folder = try TemporaryFolder()
    let result = try await MPIJob.runAlone(
      program: "gyre",
      arguments: [
        "attend", "--random", "1x\(tokens)x1x1x1", "--queries", "1", "--wire", "f16", "--verify",
        "--output", folder.path + "/out.safetensors", "--report", "json",
      ])
    #expect(result.isSuccess, "\(result)")
    let report = try json(result)
    #expect(report["tokens"] as? Int == 1 && report["keyTokens"] as? Int == tokens)
    let peak = try #require(report["peakResidentBytes"] as? Int)
    #expect(peak > 4 * tokens && peak < 4 * tokens + 64 << 20, "\(peak) bytes")
  }

  @Test("one query against many keys sends itself and no keys", arguments: [1, 2, 4, 8])
  func oneQuery(ranks: Int) async throws {
    let folder = try TemporaryFolder()
    let paths = try [
      TestTensor("q", [1, 1, 4, 20]), TestTensor("k", [1, 3001, 2, 20]),
      TestTensor("v", [1, 3001, 2, 12]),
    ].map { try folder.file("\($0.name).npy", $0.npy) }
    let input = ["--q", paths[0], "--k", paths[1], "--v", paths[2], "--causal", "--verify"]
    let ring = folder.path + "/ring.safetensors"
    let query = folder.path + "/query.safetensors"
    #expect(try await attend(input + ["--output", ring], ranks: ranks).isSuccess)
    let result = try await attend(
      input + ["--output", query, "--transport", "query", "--report", "json"], ranks: ranks)
    #expect(result.isSuccess, "\(result)")
    // Its queries, and outputs with two numbers a row.
    let largest = ranks == 1 ? 0 : ranks == 2 ? 4 * 20 * 4 : 4 * (20 + 14) * 4
    #expect(try json(result)["bytesSentPerRank"] as? Int == largest)
    for name in ["o", "lse"] {
      #expect(relativeError(try read(query, name).values, try read(ring, name).values) <= 1e-5)
    }
  }

  @Test("tokens fewer than ranks, and no keys at all")
  func empty() async throws {
    let folder = try TemporaryFolder()
    let output = folder.path + "/out.safetensors"
    let few = try await attend(
      ["--random", "1x3x2x1x8", "--causal", "--verify", "--output", output], ranks: 8)
    #expect(few.isSuccess, "\(few)")
    let input = try folder.safetensors([
      TestTensor("q", [1, 5, 2, 8]), TestTensor("k", [1, 0, 2, 8]), TestTensor("v", [1, 0, 2, 8]),
    ])
    let none = try await attend([input, "--verify", "--output", output], ranks: 3)
    #expect(none.isSuccess, "\(none)")
    #expect(try read(output, "o").values.allSatisfy { $0 == 0 })
    #expect(try read(output, "lse").values.allSatisfy { $0 == -.infinity })
  }

  @Test("runs without mpirun, as one rank")
  func alone() async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend", "--random", "1x50x2x1x8", "--causal", "--verify"])
    #expect(result.isSuccess, "\(result)")
  }
}
