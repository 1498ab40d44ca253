import Foundation
import TestSupport
import Testing

/// The examples of Docs/Library.md and of the pages on extending: programs of their own on the
/// library.
@Suite(.timeLimit(.minutes(1))) struct LibraryExampleTests {
  /// What rank 0 prints, one loss a step.
  private func losses(ranks: Int) async throws -> [Double] {
    let result = try await MPIJob.run(program: "training-step", ranks: ranks)
    #expect(result.isSuccess, "\(result)")
    let lines = result.standardOutput.split(separator: "\n")
    return try lines.enumerated().map { index, line in
      let start = "step \(index + 1): loss "
      try #require(line.hasPrefix(start), "\(line)")
      return try #require(Double(line.dropFirst(start.count)))
    }
  }

  @Test func theLossGoesDownAndIsTheSameOnAnyNumberOfRanks() async throws {
    let alone = try await losses(ranks: 1)
    #expect(alone.count == 3)
    #expect(zip(alone, alone.dropFirst()).allSatisfy { $1 < 0.99 * $0 }, "\(alone)")
    for ranks in [2, 3] {
      #expect(try await losses(ranks: ranks) == alone)
    }
  }

  /// What the page shows of the example is what is compiled and run, and what it prints.
  @Test func thePageShowsTheExampleAsItIs() async throws {
    let page = try text("Docs/Library.md")
    let result = try await MPIJob.run(program: "training-step", ranks: 3)
    #expect(page.contains("```\n\(result.standardOutput)```"))
    for (page, examples, count) in [
      ("Library", ["TrainingStep", "SlidingWindow"], 3), ("Extend-Pattern", ["SlidingWindow"], 1),
      ("Extend-ScoreRule", ["LinearBias"], 4), ("Extend-Route", ["PairwiseRoute"], 2),
    ] {
      let example = Set(try examples.flatMap { lines(try source($0)) })
      let fences = try text("Docs/\(page).md").components(separatedBy: "```")
      let excerpts = fences.filter { $0.hasPrefix("swift\n") && !$0.contains(".package(") }
      #expect(excerpts.count >= count)
      for line in excerpts.flatMap({ lines($0).dropFirst() }) {
        let isThere = example.contains(line)
        #expect(isThere, "\(page): not in the example: \(line)")
      }
    }
  }

  /// All files of an example.
  private func source(_ example: String) throws -> String {
    let folder = "Examples/\(example)"
    return try FileManager.default.contentsOfDirectory(
      atPath: Script.root.appending(path: folder).path
    ).map { try text("\(folder)/\($0)") }.joined()
  }

  private func text(_ path: String) throws -> String {
    try String(contentsOf: Script.root.appending(path: path), encoding: .utf8)
  }

  @Test func aScoreRuleOfOnesOwnPassesTheChecksOnAnyNumberOfRanks() async throws {
    for ranks in [1, 2, 3] {
      let result = try await MPIJob.run(program: "linear-bias", ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      #expect(
        result.standardOutput == """
          32 rows: as exact as they should be
          32 gradients: as exact as they should be

          """, "\(result)")
    }
  }

  @Test func aMaskOfOnesOwnIsExactAndWhatItHidesDoesNotTravel() async throws {
    for ranks in [1, 2, 3] {
      let result = try await MPIJob.run(program: "sliding-window", ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      // Each token sees itself and up to 99 before it: the last 99 of a rank go to the next.
      let sent = (ranks - 1) * 99 * 64 * 4
      #expect(
        result.standardOutput == """
          \(3000 * 100 - 99 * 100 / 2) pairs a head, \(sent) bytes sent
          largest error below 1e-5

          """, "\(result)")
    }
  }

  /// Anybody can type what the page says, on however few cores, and root as it says of root.
  @Test func theCommandsOfThePageRun() async throws {
    let page = try ["Library", "Extend-Pattern", "Extend-ScoreRule"].map {
      try text("Docs/\($0).md")
    }.joined()
    let commands = page.split(separator: "\n").filter { $0.hasPrefix("mpirun ") }
    #expect(commands.count == 3)
    let root = geteuid() == 0 ? "--allow-run-as-root " : ""
    for command in commands {
      let line = command.replacing(".build/release/", with: BuiltProducts.directory + "/")
        .replacing("mpirun ", with: "mpirun \(root)")
      let result = try await Command.run("sh", arguments: ["-c", String(line)], timeoutSeconds: 60)
      #expect(result.isSuccess, "\(result)")
      #expect(page.contains("```\n\(result.standardOutput)```"), "\(result)")
    }
  }

  private func lines(_ text: String) -> [String] {
    text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
  }
}
