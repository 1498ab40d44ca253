import Compute
import Foundation
import TestSupport
import Testing

/// `--instructions`, and ranks whose processors differ: to one of them `/proc/cpuinfo` tells less.
@Suite("Instruction sets of a job")
struct InstructionsTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  /// Runs what follows where the processor seems to have no feature that contains a word.
  private static func processor(without word: String) -> [String] {
    let mount =
      "f=$(mktemp) && sed 's/[a-z0-9_]*\(word)[a-z0-9_]*//g' /proc/cpuinfo >\"$f\" "
      + "&& mount --bind \"$f\" /proc/cpuinfo && exec \"$0\" \"$@\""
    return ["unshare", "--mount", "sh", "-c", mount]
  }

  /// The same for the ranks above 0.
  private static func others(without word: String) -> [String] {
    let quoted = processor(without: word).map { "'\($0.replacing("'", with: #"'\''"#))'" }
    return [
      "sh", "-c",
      "[ \"$OMPI_COMM_WORLD_RANK\" = 0 ] || exec \(quoted.joined(separator: " ")) \"$0\" \"$@\"; "
        + "exec \"$0\" \"$@\"",
    ]
  }

  private static func canMount() async throws -> Bool {
    guard InstructionSet.compiled.contains(.avx2) else { return false }
    let command = processor(without: "avx512") + ["true"]
    return try await Command.run(
      command[0], arguments: Array(command.dropFirst()), timeoutSeconds: 10
    ).isSuccess
  }

  /// The names that a report has.
  private struct Report: Decodable {
    struct Rank: Decodable { let instructionSet: String }
    let instructionSet: String
    let perRank: [Rank]

    init(_ result: CommandResult) throws {
      try #require(result.isSuccess, "\(result)")
      self = try JSONDecoder().decode(Report.self, from: Data(result.standardOutput.utf8))
    }
  }

  private let problem = ["--random", "1x1700x2x1x20", "--causal", "--gradients", "--reproducible"]

  private func attend(
    _ arguments: [String], ranks: Int = 1, rankWrapper: [String] = [], output: String? = nil
  ) async throws -> CommandResult {
    try await MPIJob.run(
      program: "gyre",
      arguments: ["attend"] + problem + ["--report", "json"] + arguments
        + (output.map { ["--output", folder.path + "/" + $0] } ?? []),
      ranks: ranks, rankWrapper: rankWrapper)
  }

  private func bytes(_ name: String) throws -> Data {
    try Data(contentsOf: URL(filePath: folder.path + "/" + name))
  }

  @Test(
    "ranks with different processors work together, and give the bits of any other",
    .enabled("mounting takes root") { try await canMount() })
  func mixed() async throws {
    let best = try #require(InstructionSet.ofThisProcessor.last)
    let alone = try Report(try await attend([], output: "alone.safetensors"))
    #expect(alone.instructionSet == best.rawValue)
    for transport in ["shared", "ring"] {
      let report = try Report(
        try await attend(
          ["--transport", transport], ranks: 3, rankWrapper: Self.others(without: "avx512"),
          output: "mixed.safetensors"))
      #expect(report.perRank.map(\.instructionSet) == [best.rawValue, "avx2", "avx2"])
      #expect(report.instructionSet == InstructionSet.names(of: [.avx2, best]))
      #expect(try bytes("mixed.safetensors") == bytes("alone.safetensors"), "\(transport)")
    }
  }

  @Test(
    "bf16 arithmetic is refused where the processor has none, and emulated if that is asked for",
    .enabled("mounting takes root") { try await canMount() })
  func arithmetic() async throws {
    let problem = ["--arithmetic", "bf16"]
    let refused = try await attend(
      problem, ranks: 2, rankWrapper: Self.others(without: "avx512_bf16"))
    #expect(!refused.isSuccess)
    #expect(
      refused.standardError.contains(
        "the processor has no instructions for --arithmetic bf16 (avx512_bf16)"), "\(refused)")
    let emulated = try await attend(
      problem + ["--instructions", "avx2", "--verify"], ranks: 3, output: "emulated.safetensors")
    try #require(emulated.isSuccess, "\(emulated)")
    #expect(emulated.standardOutput.contains(#""arithmetic":"bf16""#), "\(emulated)")
    #expect(emulated.standardOutput.contains(#""wire":"bf16""#), "\(emulated)")
    let products = try await MPIJob.run(
      program: "gyre",
      arguments: ["generate", "none.gguf", "--prompt", "a", "--weight-products", "int8"],
      ranks: 2, rankWrapper: Self.others(without: "avx512_vnni"))
    #expect(products.ending == .exited(64), "\(products)")
    #expect(
      products.standardError.contains(
        "the processor has no instructions for --weight-products int8"),
      "\(products)")
    guard InstructionSet.inUse.hasBF16 else { return }
    let own = try await attend(problem + ["--verify"], output: "own.safetensors")
    #expect(own.isSuccess, "\(own)")
    #expect(try bytes("own.safetensors") == bytes("emulated.safetensors"))
  }

  @Test(
    "a set that one rank lacks is refused by all, in a sentence",
    .enabled("mounting takes root") { try await canMount() })
  func refused() async throws {
    let result = try await attend(
      ["--instructions", "avx512"], ranks: 3, rankWrapper: Self.others(without: "avx512"))
    #expect(result.ending == .exited(64) && result.standardOutput.isEmpty, "\(result)")
    let lines = result.standardError.split(separator: "\n").filter { $0.hasPrefix("gyre: ") }
    #expect(lines.count == 1, "\(result)")
    #expect(lines.first?.contains("processor lacks avx512f, ") == true, "\(result)")
    #expect(lines.first?.contains("which --instructions avx512 needs; leave it out") == true)
  }

  @Test(
    "a processor that lacks what all is compiled for is told so",
    .enabled("mounting takes root") { try await canMount() })
  func tooOld() async throws {
    let command =
      Self.processor(without: "avx2") + [BuiltProducts.executable("gyre"), "--version"]
    let result = try await Command.run(
      command[0], arguments: Array(command.dropFirst()), timeoutSeconds: 20)
    #expect(!result.isSuccess && result.standardOutput.isEmpty)
    #expect(result.standardError.hasPrefix("gyre: this processor lacks avx2, which"), "\(result)")
  }

  @Test("the option and the variable choose, and other words are refused")
  func chosen() async throws {
    let least = InstructionSet.required.rawValue
    let asked = try Report(try await attend(["--instructions", least]))
    #expect(asked.instructionSet == least && asked.perRank.map(\.instructionSet) == [least])
    let byVariable = try await MPIJob.runAlone(
      program: "gyre", arguments: ["bench", "kernel", "--tokens", "64", "--repeats", "1"],
      environment: ["GYRE_INSTRUCTIONS": least])
    #expect(
      byVariable.isSuccess && byVariable.standardOutput.contains(", \(least)"), "\(byVariable)")
    let other = try await MPIJob.runAlone(
      program: "gyre", arguments: ["bench", "kernel", "--instructions", "sse"])
    #expect(
      other.ending == .exited(64) && other.standardError.contains("'auto', '\(least)'"), "\(other)")
  }
}
