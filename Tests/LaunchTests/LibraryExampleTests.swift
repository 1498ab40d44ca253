import Foundation
import TestSupport
import Testing

/// The examples of Docs/Library.md: programs of their own on the library.
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
    func text(_ path: String) throws -> String {
      try String(contentsOf: Script.root.appending(path: path), encoding: .utf8)
    }
    let page = try text("Docs/Library.md")
    let result = try await MPIJob.run(program: "training-step", ranks: 3)
    #expect(page.contains("```\n\(result.standardOutput)```"))
    let example = Set(
      try lines(
        text("Examples/TrainingStep/main.swift") + text("Examples/SlidingWindow/main.swift")))
    let fences = page.components(separatedBy: "```")
    let excerpts = fences.filter { $0.hasPrefix("swift\n") && !$0.contains(".package(") }
    #expect(excerpts.count >= 3)
    for line in excerpts.flatMap({ lines($0).dropFirst() }) {
      let isThere = example.contains(line)
      #expect(isThere, "not in the example: \(line)")
    }
  }

  @Test func aMaskOfOnesOwnIsExactAndItsHiddenBlocksDoNotTravel() async throws {
    for ranks in [1, 2, 3] {
      let result = try await MPIJob.run(program: "sliding-window", ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      // Of n tokens each sees itself and up to 99 before it; a block goes one rank further.
      let block = 3000 / ranks * 64 * 4
      let sent = (ranks - 1) * block
      #expect(
        result.standardOutput == """
          \(3000 * 100 - 99 * 100 / 2) pairs a head, \(sent) bytes sent
          largest error below 1e-5

          """, "\(result)")
    }
  }

  /// Anybody can type what the page says, on however few cores, and root as it says of root.
  @Test func theCommandsOfThePageRun() async throws {
    let page = try String(
      contentsOf: Script.root.appending(path: "Docs/Library.md"), encoding: .utf8)
    let commands = page.split(separator: "\n").filter { $0.hasPrefix("mpirun ") }
    #expect(commands.count == 2)
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
