import Foundation
import TestSupport
import Testing

@Suite("Pictures of masks")
struct MaskFigureTests {
  @Test("those of the pages are what their command lines draw")
  func pictures() async throws {
    let figures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Docs/figures")
    let folder = try TemporaryFolder()
    let lines = try String(contentsOf: figures.appending(path: "masks.txt"), encoding: .utf8)
      .split(separator: "\n").filter { !$0.hasPrefix("#") }
    #expect(lines.count >= 5)
    for line in lines {
      let words = line.split(separator: " ").map(String.init)
      let (name, ranks) = (words[0], try #require(Int(words[1])))
      let path = folder.path + "/\(name).svg"
      let result = try await MPIJob.run(
        program: "gyre",
        arguments: ["attend"] + words.dropFirst(2) + ["--explain", "--explain-svg", path],
        ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      let drawn = try String(contentsOfFile: path, encoding: .utf8)
      let shown = try String(
        contentsOf: figures.appending(path: "\(name).svg"), encoding: .utf8)
      #expect(drawn == shown, "\(name).svg is not what \(line) draws; run Docs/figures/draw-masks")
    }
  }
}
