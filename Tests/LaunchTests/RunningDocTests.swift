import Foundation
import TestSupport
import Testing

/// The commands of Docs/Running.md that are marked there as run, as they stand.
///
/// A mark is a comment before a block, which readers do not see.
@Suite(.timeLimit(.minutes(1))) struct RunningDocTests {
  private static let mark = "<!-- Run by RunningDocTests. -->\n\n```sh\n"

  /// The marked blocks that start with this.
  private func blocks(startingWith start: String) throws -> [String] {
    let page = try String(
      contentsOf: Script.root.appending(path: "Docs/Running.md"), encoding: .utf8)
    let blocks = page.components(separatedBy: Self.mark).dropFirst().map { part in
      part.components(separatedBy: "```")[0]
    }
    return blocks.filter { $0.hasPrefix(start) }
  }

  /// A folder with nothing in it but what the page says is there: `Launch`.
  private func workplace() throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    try link(to: folder)
    return folder
  }

  private func link(to folder: TemporaryFolder) throws {
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/Launch",
      withDestinationPath: Script.root.appending(path: "Launch").path)
  }

  private let gyre = ["GYRE_BINARY": BuiltProducts.executable("gyre")]

  private func expectToPass(
    _ block: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let folder = try workplace()
    defer { withExtendedLifetime(folder) {} }
    let outcome = try Script.run(
      "/usr/bin/timeout", ["--kill-after=5", "50", "/bin/bash", "-ec", block], environment: gyre,
      directory: folder.url)
    #expect(outcome.code == 0, "\(outcome.errors)", sourceLocation: sourceLocation)
    #expect(outcome.output.contains("passed"), "\(outcome)", sourceLocation: sourceLocation)
  }

  @Test func everyMarkedBlockIsOneOfThese() throws {
    #expect(
      try blocks(startingWith: "").count
        == ["Launch/local ", "Launch/emulated-cluster ", "sbatch "].map {
          try blocks(startingWith: $0).count
        }.reduce(0, +))
  }

  @Test func onOneMachine() throws {
    let blocks = try blocks(startingWith: "Launch/local ")
    #expect(blocks.count == 1)
    for block in blocks { try expectToPass(block) }
  }

  @Test(.enabled(if: EmulatedCluster.canBeMade, "\(EmulatedCluster.reason)"))
  func onAnEmulatedCluster() throws {
    let blocks = try blocks(startingWith: "Launch/emulated-cluster ")
    #expect(blocks.count == 1)
    for block in blocks { try expectToPass(block) }
  }

  @Test(.enabled(if: SlurmMachine.canBeStarted, "\(SlurmMachine.reason)"))
  func onSlurm() throws {
    let blocks = try blocks(startingWith: "sbatch ")
    #expect(blocks.count == 1)
    let slurm = try SlurmMachine()
    try link(to: slurm.folder)
    for block in blocks {
      let submitted = try slurm.run("bash", ["-ec", block])
      let job = try #require(submitted.output.split(whereSeparator: \.isWhitespace).last)
      #expect(try slurm.end(of: String(job), within: 30) == "COMPLETED", "\(submitted.errors)")
      let output = try slurm.output(of: String(job))
      #expect(output.contains("passed"), "\(output)")
    }
  }
}
