import Foundation
import Tensors
import TestSupport
import Testing

@Suite("gyre attend --dilated")
struct DilatedTests {
  private static let input = [
    TestTensor("q", [1, 1500, 4, 20]), TestTensor("k", [1, 1500, 2, 20]),
    TestTensor("v", [1, 1500, 2, 12]), TestTensor("do", [1, 1500, 4, 12]),
  ]

  private static let names = ["o", "lse", "dq", "dk", "dv"]
  private static let problem = ["--dilated", "100:1,400:3,1100:8", "--causal", "--gradients"]

  /// What one rank gives, of all tensors in turn.
  private static let reference = Task {
    let folder = try TemporaryFolder()
    let output = folder.path + "/one.safetensors"
    let result = try await attend(
      [folder.safetensors(input), "--output", output] + problem, ranks: 1)
    try #require(result.isSuccess, "\(result)")
    return try names.map { try read(output, $0) }
  }

  private static func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["attend"] + arguments, ranks: ranks)
  }

  private func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await Self.attend(arguments, ranks: ranks)
  }

  @Test(
    "every placement gives the same answer, and the check passes",
    arguments: [1, 2, 3, 5, 8], ["rate", "sequence", "units", "auto"])
  func placements(ranks: Int, placement: String) async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors(Self.input)
    let many = folder.path + "/many.safetensors"
    let result = try await attend(
      [input, "--output", many, "--placement", placement, "--verify"] + Self.problem,
      ranks: ranks)
    #expect(
      result.isSuccess && result.standardOutput.contains("Check of gradients"), "\(result)")
    for (name, expected) in zip(Self.names, try await Self.reference.value) {
      let actual = try read(many, name)
      #expect(actual.shape == expected.shape)
      #expect(relativeError(actual.values, expected.values) <= 1e-5, "\(name)")
    }
  }

  @Test("bf16 arithmetic passes its check, and is off by what bf16 rounds", arguments: [1, 3])
  func arithmetic(ranks: Int) async throws {
    let folder = try TemporaryFolder()
    let output = folder.path + "/bf16.safetensors"
    let result = try await attend(
      [
        try folder.safetensors(Self.input), "--output", output, "--arithmetic", "bf16",
        "--instructions", "avx2", "--verify",
      ] + Self.problem, ranks: ranks)
    try #require(result.isSuccess, "\(result)")
    #expect(result.standardOutput.contains("f32 on the wire, bf16 arithmetic"), "\(result)")
    #expect(result.standardOutput.contains("for rounding to bf16 in products: passed"), "\(result)")
    for (name, expected) in zip(Self.names, try await Self.reference.value) where name != "lse" {
      let error = relativeError(try read(output, name).values, expected.values)
      #expect(error > 1e-4 && error < 1e-2, "\(name): \(error)")
    }
  }

  @Test("one segment of everything is full attention")
  func oneSegment() async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors(Self.input)
    for flags in [["--causal"], []] {
      let dense = folder.path + "/dense.safetensors"
      let dilated = folder.path + "/dilated.safetensors"
      for (output, more) in [(dense, []), (dilated, ["--dilated", "1500:1"])] {
        let result = try await attend([input, "--output", output] + flags + more, ranks: 3)
        #expect(result.isSuccess, "\(result)")
      }
      for name in ["o", "lse"] {
        let (actual, expected) = (try read(dilated, name), try read(dense, name))
        #expect(relativeError(actual.values, expected.values) <= 1e-5, "\(name)")
      }
    }
  }

  @Test(
    "real tensors: rates on ranks of their own equal a sequence on any number of ranks",
    .enabled(if: SharedData.exists))
  func realTensors() async throws {
    let folder = try TemporaryFolder()
    let arguments = [
      SharedData.path + "/real-qkv.safetensors", "--dilated", "512:1,2048:4,8191:16",
    ]
    let rate = folder.path + "/rate.safetensors"
    let first = try await attend(
      arguments + ["--placement", "rate", "--output", rate, "--verify"], ranks: 3)
    #expect(first.isSuccess, "\(first)")
    for ranks in [1, 2, 4] {
      let sequence = folder.path + "/sequence.safetensors"
      let result = try await attend(
        arguments + ["--placement", "sequence", "--output", sequence], ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      for name in ["o", "lse"] {
        let (actual, expected) = (try read(sequence, name), try read(rate, name))
        #expect(relativeError(actual.values, expected.values) <= 1e-5, "\(name)")
      }
    }
  }

  @Test("a plan says who computes what, and the report what was placed where")
  func report() async throws {
    let problem = [
      "--random", "1x600x2x1x16", "--dilated", "geometric:64,2,3", "--head-offset", "grouped",
      "--placement", "units",
    ]
    func object(_ result: CommandResult) throws -> [String: Any] {
      #expect(result.isSuccess, "\(result)")
      return try #require(
        try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8)) as? [String: Any])
    }
    let plan = try await attend(problem + ["--explain"], ranks: 3)
    let words = plan.standardOutput
    #expect(plan.isSuccess && words.contains("rank   rates"), "\(plan)")
    #expect(words.contains(": the mean number of pairs a rank over the greatest."), "\(plan)")
    #expect(
      words.contains(/A segment counts once for each family: .+, [0-9]+ in all branches\./),
      "\(plan)")
    #expect(words.contains(/pairs in all, [0-9.]+ % of dense/), "\(plan)")
    let planned = try object(
      try await attend(problem + ["--explain", "--report", "json"], ranks: 3))
    #expect((planned["perRank"] as? [Any])?.count == 3 && planned["seconds"] == nil)
    let report = try object(try await attend(problem + ["--report", "json"], ranks: 3))
    let dilated = try #require(report["dilated"] as? [String: Any])
    #expect(dilated["branches"] as? String == "64:1,128:2,256:4")
    #expect(dilated["headOffset"] as? String == "grouped")
    #expect(dilated["placement"] as? String == "units")
    #expect(dilated["placementReason"] as? String == "asked for")
    #expect((dilated["predictedBalance"] as? Double ?? 0) > 0.98)
    // Each branch of 64 rows, for 2 heads with offsets 0 and 0, 1 or 2.
    let rows: [[Int]] = [
      [Int](repeating: 64, count: 9) + [24], [Int](repeating: 64, count: 4) + [44],
      [Int](repeating: 64, count: 2) + [22],
    ]
    let pairs = rows.joined().reduce(0) { $0 + 2 * $1 * $1 }
    #expect(report["flops"] as? Double == Double(pairs * 4 * 16))
  }

  @Test(
    "what does not fit together is refused in a sentence",
    arguments: [
      (["--dilated", "0:1"], "the segment length 0 is out of range"),
      (["--dilated", "64"], "'64' is not a segment length and a dilation rate"),
      (["--dilated", "64:1", "--reproducible"], "--reproducible cannot be used with --dilated"),
      (["--dilated", "64:1", "--wire", "bf16"], "leave --wire bf16 out"),
      (["--dilated", "64:1", "--transport", "shared"], "--dilated has no --transport"),
      (
        ["--dilated", "64:1", "--gradients", "--backward-route", "kv"],
        "--dilated has no --backward-route"
      ),
      (["--placement", "rate"], "--placement is about dilated attention"),
      (["--dilated", "64:1", "--layout", "balanced"], "--layout balanced cannot be used with"),
      (["--dilated", "64:1", "--explain-svg", "a.svg"], "--explain-svg draws a mask"),
      (["--dilated", "64:1", "--placement", "rates"], "'rates' is invalid"),
    ])
  func refusals(arguments: [String], sentence: String) async throws {
    let result = try await attend(["--random", "1x100x2x1x16"] + arguments, ranks: 2)
    #expect(!result.isSuccess && result.standardError.contains(sentence), "\(result)")
  }

  @Test("queries and keys of different lengths are refused")
  func lengths() async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors([
      TestTensor("q", [1, 10, 1, 8]), TestTensor("k", [1, 12, 1, 8]),
      TestTensor("v", [1, 12, 1, 8]),
    ])
    let result = try await attend([input, "--dilated", "4:1"], ranks: 2)
    #expect(
      !result.isSuccess && result.standardError.contains("there are 10 queries and 12 keys"),
      "\(result)")
  }
}
