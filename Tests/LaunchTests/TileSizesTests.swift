import Foundation
import TestSupport
import Testing

/// `Launch/try-tiles`, without building anything: which combinations it would build, and that it
/// knows the sizes that the sources have.
@Suite struct TileSizesTests {
  private func plan(_ arguments: [String]) throws -> [Substring] {
    let outcome = try Script.run("Launch/try-tiles", ["--dry-run"] + arguments)
    #expect(outcome.code == 0 && outcome.errors == "", "\(outcome)")
    return outcome.output.split(separator: "\n")
  }

  @Test func everyCombinationIsBuiltAndTheBenchmarkGetsItsOptions() throws {
    let lines = try plan([
      "--queries", "96,144", "--keys=128", "--backward", "96x96,66x192", "--rounds", "5", "--",
      "--head-dim", "64,128", "--causal", "true",
    ])
    #expect(
      lines == [
        "build 96x128/96x96", "build 96x128/66x192", "build 144x128/96x96", "build 144x128/66x192",
        "run each, 5 rounds: gyre bench kernel --format csv --head-dim 64\\,128 --causal true",
      ])
  }

  /// What the script would replace is there to be replaced.
  @Test func sizesThatAreNotGivenAreThoseOfTheSources() throws {
    let sources = try String(
      contentsOf: Script.root.appending(path: "Sources/Kernels/Tiles/TileSizes.swift"),
      encoding: .utf8)
    func size(_ name: String) throws -> Substring {
      let declaration = try #require(sources.firstRange(of: "static var \(name): Int { "))
      return sources[declaration.upperBound...].prefix { $0.isNumber }
    }
    let forward = try "\(size("queries"))x\(size("keys"))"
    let backward = try "\(size("backwardQueries"))x\(size("backwardKeys"))"
    #expect(try plan([]).first.map(String.init) == "build \(forward)/\(backward)")
  }

  @Test(arguments: [
    ["--queries", "100"], ["--queries", "0"], ["--queries", "96,,144"], ["--queries", "1542"],
    ["--keys", "48"], ["--keys="], ["--keys", "-32"], ["--backward", "96"],
    ["--backward", "64x96"], ["--backward", "96x128"], ["--backward", "96x96x96"],
    ["--rounds", "0"], ["--rounds"], ["--format", "json"], ["--tiles", "96"], ["96"],
    ["--keys", "32,64,96,128,160,192", "--queries", "12,24,36,48,60,72"],
  ])
  func sizesThatDoNotFitAreRefused(arguments: [String]) throws {
    let folder = try TemporaryFolder()
    let outcome = try Script.run(
      "Launch/try-tiles", arguments,
      environment: try folder.shadowing("swift", with: "echo swift was started >&2; exit 1"))
    #expect(outcome.code == 64, "\(outcome)")
    #expect(outcome.output == "" && outcome.complaints.count == 1, "\(outcome)")
    #expect(outcome.errors.hasPrefix("Launch/try-tiles: "), "\(outcome)")
    let culprit = arguments.count > 2 ? "36" : arguments[0].prefix { $0 != "=" }.description
    #expect(outcome.errors.contains(culprit), "\(outcome)")
  }

  @Test func theBenchmarksFormatIsNotTheUsers() throws {
    let outcome = try Script.run("Launch/try-tiles", ["--dry-run", "--", "--format", "json"])
    #expect(outcome.code == 64 && outcome.errors.contains("--format"), "\(outcome)")
  }
}
