import Foundation
import Tensors
import TestSupport
import Testing

@Suite("gyre attend --gradients")
struct GradientTests {
  /// Uneven in every way, and enough for several leaves of reproducible sums.
  private static let input = [
    TestTensor("q", [1, 1700, 2, 20]), TestTensor("k", [1, 1700, 1, 20]),
    TestTensor("v", [1, 1700, 1, 12]), TestTensor("do", [1, 1700, 2, 12]),
  ]
  private static let names = ["o", "lse", "dq", "dk", "dv"]

  /// What one rank gives, of all tensors in turn.
  private static let reference = Task {
    let folder = try TemporaryFolder()
    let output = folder.path + "/one.safetensors"
    let result = try await attend(
      [folder.safetensors(input), "--gradients", "--output", output], ranks: 1)
    try #require(result.isSuccess, "\(result)")
    return try names.map { try read(output, $0).values }
  }

  private static func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["attend"] + arguments, ranks: ranks)
  }

  private func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await Self.attend(arguments, ranks: ranks)
  }

  /// Every transport on an even and an odd number of ranks.
  private static let cases =
    [
      "ring", "shared", "hierarchical", "allgather", "query", "heads", "mesh", "auto",
    ].enumerated().flatMap { index, transport in
      (index % 2 == 0 ? [2, 5] : [3, 8]).map { ($0, transport) }
    } + [(1, "ring"), (1, "mesh"), (1, "auto"), (8, "mesh"), (8, "ring")]

  @Test("every transport gives the same gradients, and the check passes", arguments: cases)
  func transports(ranks: Int, transport: String) async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors(Self.input)
    let many = folder.path + "/many.safetensors"
    let result = try await attend(
      [
        input, "--gradients", "--output", many, "--transport", transport, "--verify",
        "--backward-route",
        ranks % 2 == 0 && !["heads", "mesh"].contains(transport) ? "query" : "auto",
        "--ranks-per-host", ["hierarchical", "mesh"].contains(transport) ? "2" : "8",
      ], ranks: ranks)
    #expect(result.isSuccess && result.standardOutput.contains("Check of gradients"), "\(result)")
    let shapes = [
      [1, 1700, 2, 12], [1, 2, 1700], [1, 1700, 2, 20], [1, 1700, 1, 20], [1, 1700, 1, 12],
    ]
    let reference = try await Self.reference.value
    for ((name, shape), expected) in zip(zip(Self.names, shapes), reference) {
      let actual = try read(many, name)
      #expect(actual.shape.dimensions == shape)
      #expect(relativeError(actual.values, expected) <= 1e-5, "\(name)")
    }
  }

  @Test("reproducible: the same bytes for any ranks, layout, transport and threads")
  func reproducible() async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors(Self.input)
    var files: [Data] = []
    for (ranks, layout, transport, route, threads) in [
      (1, "contiguous", "ring", "kv", "1"), (2, "zigzag", "shared", "kv", "2"),
      (3, "striped", "allgather", "query", "1"), (4, "zigzag", "query", "query", "2"),
      (5, "zigzag", "hierarchical", "query", "1"), (7, "contiguous", "query", "kv", "1"),
      (8, "striped", "ring", "auto", "2"),
      (4, "zigzag", "heads", "auto", "1"), (6, "striped", "mesh:3x2", "kv", "2"),
    ] {
      let output = folder.path + "/\(ranks).safetensors"
      let result = try await attend(
        [
          input, "--gradients", "--causal", "--reproducible", "--output", output, "--layout",
          layout, "--transport", transport, "--backward-route", route, "--threads", threads,
          "--ranks-per-host",
          transport == "hierarchical" ? "2" : "8",
        ], ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      files.append(try Data(contentsOf: URL(filePath: output)))
    }
    for file in files.dropFirst() {
      let isSame = file == files[0]
      #expect(isSame)
    }
  }

  @Test("a trace is JSON with a process for each rank")
  func trace() async throws {
    for (transport, own, others) in [
      ("ring", ["block of", "send block of"], ["receive result of"]),
      (
        "heads", ["send q of", "send block of", "send do of"],
        ["receive o of", "receive dk, dv of"]
      ),
    ] {
      let folder = try TemporaryFolder()
      let trace = folder.path + "/trace.json"
      let result = try await attend(
        [
          "--random", "1x600x3x3x32", "--gradients", "--trace", trace, "--transport", transport,
        ], ranks: 3)
      #expect(result.isSuccess, "\(result)")
      let object = try JSONSerialization.jsonObject(
        with: Data(contentsOf: URL(filePath: trace)))
      let events = try #require((object as? [String: Any])?["traceEvents"] as? [[String: Any]])
      for rank in 0..<3 {
        let names = events.filter { $0["pid"] as? Int == rank }
          .compactMap { $0["name"] as? String }
        for name in own { #expect(names.contains("\(name) \(rank)"), "\(names)") }
        // Results come in for this rank's own block; tensors and gradients from the others.
        for name in others {
          let source = transport == "ring" ? rank : (rank + 1) % 3
          #expect(names.contains("\(name) \(source)"), "\(names)")
        }
        #expect(names.contains("exchange q") == (transport == "heads"))
      }
    }
  }

  @Test("the report gives each pass, bytes by the formula, and the transport")
  func report() async throws {
    let result = try await attend(
      [
        "--random", "2x300x4x2x16", "--gradients", "--report", "json", "--verify", "--transport",
        "ring",
      ], ranks: 3)
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    let report = try #require(object as? [String: Any])
    let forward = try #require(report["forwardSeconds"] as? Double)
    let backward = try #require(report["backwardSeconds"] as? Double)
    let seconds = try #require(report["seconds"] as? Double)
    #expect(forward > 0 && backward > 0 && seconds <= forward + backward + 1e-9)
    for name in ["loadSeconds", "checkSeconds"] {
      #expect(try #require(report[name] as? Double) > 0, "\(name)")
    }
    #expect(report["writeSeconds"] as? Double == 0)
    // The ranks divide the cores of this machine, of which the first have what is left over.
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let threads = (0..<3).map { max(1, cores / 3 + ($0 < cores % 3 ? 1 : 0)) }
    let perRank = try #require(report["perRank"] as? [[String: Any]])
    #expect(perRank.map { $0["threads"] as? Int } == threads)
    #expect(report["threads"] as? Int == threads.min())
    // Two hops forward, two backward, and two of gradients, of 100 keys each.
    let bytes = 6 * 2 * 100 * 2 * 32 * 4
    #expect(report["bytesSentPerRank"] as? Int == bytes)
    #expect(report["transport"] as? String == "ring")
    #expect(report["backwardRoute"] as? String == "kv")
    let flops: Double = 14 * 16 * 300 * 300 * 4 * 2
    #expect(report["flops"] as? Double == flops)
    #expect(try #require(report["maxGradientError"] as? Double) <= 1e-4)
  }

  @Test("the report says what travelled backward, and bytes are those of the formula")
  func backwardRoute() async throws {
    // Bytes of a token a hop: keys and values 128, queries 64; forward, then backward.
    let keys = 2 * 16 * 4
    let queries = (2 * 16 + 3 + 16) * 4
    for (shape, options, route, words, bytes) in [
      // Two query heads with their own keys; then sharing them.
      ("1x300x2x2x16", [], "query", "bytes, not", 2 * (keys + queries)),
      ("1x300x2x1x16", [], "kv", "bytes, not", keys + 2 * keys),
      ("1x300x2x2x16", ["--backward-route", "kv"], "kv", "asked for", 2 * (keys + 2 * keys)),
      ("1x300x2x1x16", ["--backward-route", "query"], "query", "asked for", keys + 2 * queries),
      (
        "1x300x2x1x16", ["--transport", "query"], "query", "as in the forward pass",
        2 * (16 + 18) * 4 + 2 * queries
      ),
      ("1x300x2x2x16", ["--transport", "shared"], "kv", "nothing is sent", 0),
    ] {
      let result = try await attend(
        ["--random", shape, "--gradients", "--report", "json", "--verify"]
          + (options.contains("--transport") ? [] : ["--transport", "ring"]) + options, ranks: 3)
      #expect(result.isSuccess, "\(result)")
      let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
      let report = try #require(object as? [String: Any])
      #expect(report["backwardRoute"] as? String == route, "\(shape) \(options)")
      let reason = try #require(report["backwardRouteReason"] as? String)
      #expect(reason.contains(words), "\(reason)")
      // Two hops of 100 tokens.
      #expect(report["bytesSentPerRank"] as? Int == 2 * 100 * bytes, "\(shape) \(options)")
    }
    let forward = try await attend(["--random", "1x8x1x1x4", "--report", "json"], ranks: 2)
    #expect(forward.standardOutput.contains(#""backwardRoute":null"#), "\(forward)")
    let text = try await attend(
      ["--random", "1x300x2x2x16", "--gradients", "--transport", "ring"], ranks: 3)
    #expect(text.standardOutput.contains("Backward, queries travelled: "), "\(text)")
  }

  @Test("heads and meshes: their names, their ranks' work, and bytes by the formula")
  func headTransports() async throws {
    for (arguments, ranks, name, columns) in [
      (["heads"], 4, "heads", 4), (["mesh:2x2"], 4, "mesh:2x2", 2),
      (["mesh", "--mesh", "2x2"], 4, "mesh:2x2", 2),
      // The ranks of a host; or if hosts differ, all ranks that have KV heads.
      (["mesh", "--ranks-per-host", "2"], 4, "mesh:2x2", 2),
      (["mesh", "--ranks-per-host", "4"], 6, "mesh:3x2", 3),
    ] {
      let result = try await attend(
        [
          "--random", "1x240x12x4x16", "--gradients", "--report", "json", "--verify",
          "--transport",
        ] + arguments, ranks: ranks)
      let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
      let report = try #require(object as? [String: Any])
      #expect(report["transport"] as? String == name)
      let flops = try #require(report["perRank"] as? [[String: Any]])
        .compactMap { $0["flops"] as? Double }
      let all: Double = 14 * 16 * 240 * 240 * 12
      #expect(flops == [Double](repeating: all / Double(ranks), count: ranks))
      if 4 % columns == 0 {
        // q, o and its log-sum-exp in two floats; q, o, do, lse and dq; keys, and their gradients.
        let (n, rows, block) = (240 / ranks, ranks / columns, 4 * 32 * 4)
        let exchanged = 4 * 12 * (34 + 66) + 2 * block
        let bytes = n * exchanged * (columns - 1) / columns + (rows - 1) * n * 3 * block
        #expect(report["bytesSentPerRank"] as? Int == bytes)
      }
    }
  }

  @Test("mistakes are refused in a sentence")
  func mistakes() async throws {
    let folder = try TemporaryFolder()
    let withoutGradient = try folder.safetensors(Array(Self.input.prefix(3)))
    let wrongShape = try folder.safetensors(
      Array(Self.input.prefix(3)) + [TestTensor("do", [1, 1700, 2, 20])], name: "wrong.safetensors")
    for (arguments, words) in [
      ([withoutGradient, "--gradients"], ["'do'"]),
      ([wrongShape, "--gradients"], ["do is", "shape of o"]),
      (
        ["--random", "1x64x1x1x8", "--transport", "shared", "--ranks-per-host", "1"],
        ["hierarchical"]
      ),
      (
        ["--random", "1x64x4x4x8", "--transport", "mesh:2x2"],
        ["2x2 needs 2 · 2 ranks", "there are 3", "choose 1x3"]
      ),
      (["--random", "1x64x4x4x8", "--transport", "mesh", "--mesh", "2by2"], ["--mesh", "2x4"]),
      (["--random", "1x64x4x4x8", "--transport", "mesh:0x3"], ["--transport", "mesh:AxB"]),
      (["--random", "1x64x4x4x8", "--mesh", "3x1"], ["--transport mesh"]),
      (
        ["--random", "1x64x4x4x8", "--transport", "mesh:3x1", "--mesh", "1x3"],
        ["different meshes"]
      ),
      (["--random", "1x64x1x1x8", "--transport", "pigeon"], ["--transport", "ring"]),
      (["--random", "1x64x1x1x8", "--ranks-per-host", "0"], ["--ranks-per-host"]),
      (["--random", "1x64x1x1x8", "--backward-route", "kv"], ["--backward-route", "--gradients"]),
      (["--random", "1x64x1x1x8", "--gradients", "--backward-route", "pigeon"], ["kv", "query"]),
      (["--random", "1x64x1x1x8", "--trace", folder.path + "/no/such.json"], ["no/such.json"]),
    ] {
      let result = try await attend(arguments, ranks: 3)
      #expect(!result.isSuccess, "\(arguments)")
      for word in words { #expect(result.standardError.contains(word), "\(result)") }
    }
  }
}
