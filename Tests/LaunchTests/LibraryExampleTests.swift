import Foundation
import TestSupport
import Testing

/// The example of Docs/Library.md: a program of its own on the library.
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
    let example = Set(try lines(text("Examples/TrainingStep/main.swift")))
    let fences = page.components(separatedBy: "```")
    let excerpts = fences.filter { $0.hasPrefix("swift\n") && !$0.contains(".package(") }
    #expect(excerpts.count >= 3)
    for line in excerpts.flatMap({ lines($0).dropFirst() }) {
      let isThere = example.contains(line)
      #expect(isThere, "not in the example: \(line)")
    }
  }

  private func lines(_ text: String) -> [String] {
    text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
  }
}
