import Foundation
import Testing

/// What the pages link to is there.
@Suite struct LinkTests {
  @Test("links between pages lead to files and headings that exist")
  func links() throws {
    let folder = SourceFile.root
    let names = try FileManager.default.contentsOfDirectory(
      atPath: folder.appending(path: "Docs").path)
    let pages =
      ["README.md", "CONTRIBUTING.md"]
      + names.filter { $0.hasSuffix(".md") }.map { "Docs/\($0)" }
    #expect(pages.count > 8)
    for page in pages {
      let text = try String(contentsOf: folder.appending(path: page), encoding: .utf8)
      for link in text.matches(of: /\]\(([^)\s]*)\)/).map({ String($0.1) })
      where !link.contains("://") {
        let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let from = folder.appending(path: page)
        let target =
          parts[0].isEmpty
          ? from : from.deletingLastPathComponent().appending(path: String(parts[0]))
        guard FileManager.default.fileExists(atPath: target.path) else {
          Issue.record("\(page) links to \(link), which does not exist")
          continue
        }
        if parts.count == 2 {
          let headings = Self.headings(try String(contentsOf: target, encoding: .utf8))
          #expect(headings.contains(String(parts[1])), "\(page) links to \(link)")
        }
      }
    }
  }

  /// The names of a page's headings in links, as GitHub makes them.
  private static func headings(_ page: String) -> Set<String> {
    Set(
      page.split(separator: "\n").filter { $0.hasPrefix("#") }.map { line in
        line.drop { $0 == "#" || $0 == " " }.lowercased().compactMap { character in
          character == " "
            ? "-"
            : character.isLetter || character.isNumber || "-_".contains(character)
              ? String(character) : nil
        }.joined()
      })
  }
}
