import Foundation
import Tensors
import TestSupport
import Testing

/// What comes from the input beside q, k and v: positions, sinks, biases.
@Suite("gyre attend --position-ids, --learned-sinks and --bias")
struct ScoreInputTests {
  private func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["attend"] + arguments, ranks: ranks)
  }

  /// Writes a file of floats, and of whole numbers that are I64.
  private func file(
    _ name: String, _ floats: [TestTensor], integers: [(name: String, shape: Shape, [Int])] = [],
    in folder: TemporaryFolder
  ) throws -> String {
    var (entries, bytes): ([String], [UInt8]) = ([], [])
    func add(_ name: String, _ type: String, _ shape: Shape, _ numbers: [UInt8]) {
      let end = bytes.count + numbers.count
      entries.append(
        "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":[\(bytes.count),\(end)]}"
      )
      bytes += numbers
    }
    for (name, shape, numbers) in integers {
      add(
        name, "I64", shape,
        numbers.flatMap { number in (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } })
    }
    for tensor in floats {
      let isWide = tensor.elementType == .f32
      add(
        tensor.name, "\(tensor.elementType)", tensor.shape,
        tensor.values.flatMap { value -> [UInt8] in
          let bits = isWide ? value.bitPattern : UInt32(BFloat16(value).bitPattern)
          return (0..<(isWide ? 4 : 2)).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
        })
    }
    let header = Array("{\(entries.joined(separator: ","))}".utf8)
    let size = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
    let path = "\(folder.path)/\(name).safetensors"
    try Data(size + header + bytes).write(to: URL(filePath: path))
    return path
  }

  private func inputs(tokens: Int = 90, keyTokens: Int = 90) -> [TestTensor] {
    [
      TestTensor("q", [2, tokens, 4, 16]), TestTensor("k", [2, keyTokens, 2, 16]),
      TestTensor("v", [2, keyTokens, 2, 16]), TestTensor("do", [2, tokens, 4, 16], seed: 5),
    ]
  }

  @Test("tokens stand where position ids say, of each sequence its own")
  func positionIds() async throws {
    let folder = try TemporaryFolder()
    func output(
      _ name: String, _ ids: [(name: String, shape: Shape, [Int])], _ options: [String], ranks: Int
    ) async throws -> [Float] {
      let input = try file("in-\(name)", inputs(), integers: ids, in: folder)
      let path = "\(folder.path)/\(name).safetensors"
      let result = try await attend(
        [input, "--causal", "--gradients", "--verify", "--reproducible", "--output", path]
          + options, ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      return try ["o", "lse", "dq", "dk", "dv"].flatMap { try read(path, $0).values }
    }
    let ids = ["--position-ids"]
    let shifted = [("position_ids", [2, 90] as Shape, (0..<180).map { $0 % 90 + (1 << 30) })]
    let alibi = try await output("alibi", [], ["--alibi"], ranks: 1)
    // Only distances count.
    #expect(try await output("shifted", shifted, ["--alibi"] + ids, ranks: 2) == alibi)
    let rope = try await output("rope", [], ["--rope", "half"], ranks: 1)
    let far = try await output("far", shifted, ["--rope", "half"] + ids, ranks: 3)
    #expect(relativeError(far, rope) < 1e-5)
    let packed = [
      ("position_ids", [2, 90] as Shape, (0..<180).map { $0 % 90 % 31 * ($0 / 90 + 1) })
    ]
    let both = ["--alibi", "--rope", "interleaved"] + ids
    let documents = try await output("documents", packed, both, ranks: 3)
    // Positions of documents that do not see each other begin anew, and decay in each.
    let decayed = try await attend(
      [
        try file(
          "in-decayed", inputs(),
          integers: [
            ("position_ids", [2, 90], (0..<180).map { $0 % 90 % 31 }),
            ("segment_ids", [2, 90], (0..<180).map { $0 % 90 / 31 }),
          ], in: folder), "--xpos", "--segments", "--causal", "--gradients", "--verify",
        "--position-ids",
      ], ranks: 3)
    #expect(decayed.isSuccess, "\(decayed)")
    let turnedBack = try await attend(
      [
        try file(
          "in-back", inputs(),
          integers: [("position_ids", [2, 90], (0..<180).map { 90 - $0 % 90 })], in: folder),
        "--xpos", "--causal", "--position-ids",
      ], ranks: 2)
    #expect(
      turnedBack.standardError.contains("keys count the more the later they stand"),
      "\(turnedBack)")
    #expect(try await output("again", packed, both, ranks: 2) == documents)
    #expect(relativeError(documents, rope) > 0.01)
  }

  @Test("keys have positions of their own where there are more of them")
  func keyPositionIds() async throws {
    let folder = try TemporaryFolder()
    let queries = ("position_ids", [2, 40] as Shape, (0..<80).map { 50 + $0 % 40 })
    let keys = ("key_position_ids", [2, 90] as Shape, (0..<180).map { $0 % 90 })
    let tensors = inputs(tokens: 40)
    func run(_ name: String, _ ids: [(String, Shape, [Int])], _ options: [String]) async throws
      -> (CommandResult, [Float])
    {
      let input = try file("in-\(name)", tensors, integers: ids, in: folder)
      let path = "\(folder.path)/\(name).safetensors"
      let result = try await attend(
        [input, "--causal", "--rope", "half", "--alibi", "--verify", "--output", path] + options,
        ranks: 2)
      return (result, result.isSuccess ? try read(path, "o").values : [])
    }
    let plain = try await run("plain", [], [])
    let same = try await run("same", [queries, keys], ["--position-ids"])
    #expect(plain.1 == same.1 && !plain.1.isEmpty, "\(plain.0) \(same.0)")
    let missing = try await run("missing", [queries], ["--position-ids"])
    #expect(
      missing.0.standardError.contains("--position-ids needs key_position_ids [2, 90]"),
      "\(missing.0)")
    let short = try await run(
      "short", [("position_ids", [2, 39], Array(0..<78)), keys], ["--position-ids"])
    #expect(
      short.0.standardError.contains("position_ids is [2, 39], and there are 2 sequences"),
      "\(short.0)")
  }

  @Test("a bias is added to scores, whoever shares it, and has a gradient of its shape")
  func bias() async throws {
    let folder = try TemporaryFolder()
    for (index, shape) in ([[1, 1, 90, 90], [2, 4, 90, 90], [1, 4, 90, 90]] as [Shape]).enumerated()
    {
      var bias = TestTensor("bias", shape, index == 1 ? .bf16 : .f32, seed: 9)
      // That of all heads is what ALiBi takes away.
      if index == 0 { bias.values = bias.values.indices.map { -Float(abs($0 / 90 - $0 % 90)) / 4 } }
      let tensors = inputs() + [bias, TestTensor("alibi_slopes", [4])]
      let input = try file(
        "in\(index)",
        tensors.map {
          var tensor = $0
          if $0.name == "alibi_slopes" { tensor.values = [0.25, 0.25, 0.25, 0.25] }
          return tensor
        }, in: folder)
      func output(_ name: String, _ options: [String], ranks: Int) async throws -> String {
        let path = "\(folder.path)/\(name)\(index).safetensors"
        let result = try await attend(
          [input, "--causal", "--gradients", "--verify", "--reproducible", "--output", path]
            + options, ranks: ranks)
        #expect(result.isSuccess, "\(result)")
        return path
      }
      let one = try await output("one", ["--bias"], ranks: 1)
      let three = try await output("three", ["--bias", "--transport", "query"], ranks: 3)
      // Of heads that ranks share.
      let four = try await output(
        "four", ["--bias", "--transport", index == 0 ? "heads" : "mesh:2x2"], ranks: 4)
      for name in ["o", "lse", "dq", "dk", "dv", "dbias"] {
        #expect(try read(one, name).values == read(three, name).values, "\(name) \(shape)")
        #expect(try read(one, name).values == read(four, name).values, "\(name) \(shape)")
      }
      let gradients = try read(one, "dbias")
      #expect(gradients.shape == shape)
      // Weights of a row sum up to 1 whatever is added to all of its scores.
      for row in 0..<gradients.values.count / 90 {
        let sum = gradients.values[row * 90..<(row + 1) * 90].reduce(0, +)
        #expect(abs(sum) < 1e-5)
      }
      #expect(gradients.values.contains { abs($0) > 0.01 })
      if index == 1 {
        // Of runs of every third key, and then of every third query.
        let striped = try await attend(
          [
            input, "--bias", "--causal", "--gradients", "--verify", "--layout", "striped",
            "--transport", "ring", "--backward-route", "query",
          ], ranks: 3)
        #expect(striped.isSuccess, "\(striped)")
        // Sinks that are computed apart, and keys after them.
        let cached = try await attend(
          [
            input, "--bias", "--causal", "--gradients", "--verify", "--window", "9", "--sinks", "2",
            "--sink-positions", "cache", "--rope", "half", "--transport", "ring",
            "--backward-route", "kv",
          ], ranks: 3)
        #expect(cached.isSuccess, "\(cached)")
      }
      if index != 0 { continue }
      let alibi = try await output("alibi", ["--alibi"], ranks: 1)
      for name in ["o", "lse", "dq", "dk", "dv"] {
        #expect(relativeError(try read(one, name).values, try read(alibi, name).values) < 1e-5)
      }
      let cached = try await attend(
        [
          input, "--bias", "--causal", "--window", "9", "--sinks", "2", "--sink-positions", "cache",
          "--alibi", "--transport", "query",
        ], ranks: 2)
      #expect(cached.standardError.contains("has other parts of the bias"), "\(cached)")
    }
  }

  @Test("what is missing or has another shape gets its sentence")
  func refused() async throws {
    let folder = try TemporaryFolder()
    for (tensors, option, words) in [
      ([], "--bias", "--bias needs a tensor bias [1 or 2, 1 or 4, 90, 90]"),
      ([TestTensor("bias", [1, 3, 90, 90])], "--bias", "bias is [1, 3, 90, 90], and there are"),
      ([], "--learned-sinks", "--learned-sinks needs a tensor sinks [queryHeads]"),
      (
        [TestTensor("sinks", [2])], "--learned-sinks", "sinks is [2], and there are 4 query heads"
      ),
    ] as [([TestTensor], String, String)] {
      let input = try file("in", inputs() + tensors, in: folder)
      let result = try await MPIJob.runAlone(
        program: "gyre", arguments: ["attend", input, option])
      #expect(!result.isSuccess && result.standardError.contains(words), "\(result)")
    }
  }
}
