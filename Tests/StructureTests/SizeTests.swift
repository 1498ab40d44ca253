import Foundation
import Testing

/// The sizes that CONTRIBUTING.md promises to whoever reads the code.
@Suite struct SizeTests {
  @Test("a file has at most 400 lines, half of them at most 120")
  func files() throws {
    let files = try SourceFile.all(under: ["Sources"])
    #expect(files.count > 100)
    let tooLong = try SourceFile.all(under: ["Sources", "Tests", "Examples"]).filter {
      $0.lines.count > 400
    }
    #expect(tooLong.map(\.path) == [])
    let median = files.map(\.lines.count).sorted()[files.count / 2]
    #expect(median <= 120)
  }

  @Test("a line of Swift has at most 100 characters; in tests, besides those of a text")
  func lines() throws {
    for file in try SourceFile.all(under: ["Sources", "Tests", "Examples"]) {
      let code = file.code.split(separator: "\n", omittingEmptySubsequences: false)
      for (number, line) in file.lines.enumerated() where line.count > 100 {
        let isText = code[number].count { $0 != " " } < line.count / 2
        if file.path.hasPrefix("Tests/"), isText { continue }
        Issue.record("\(file.path):\(number + 1) has \(line.count) characters")
      }
    }
  }

  /// Kernels keep what they do in registers, so one function is one loop nest.
  @Test("a function has at most 60 lines, except in kernels")
  func functions() throws {
    for file in try SourceFile.all(under: ["Sources", "Examples"])
    where !file.path.contains("/Kernels/") {
      for (name, lines) in file.functions where lines > 60 {
        Issue.record("\(file.path): \(name) has \(lines) lines")
      }
    }
  }
}

extension SourceFile {
  /// Its functions and initializers, with the lines from their first to their closing brace.
  var functions: [(name: String, lines: Int)] {
    var found: [(String, Int)] = []
    /// Those that are open: where they began, how deep their braces are, and how many brackets are
    /// open before those; in them braces are of a closure that is a default.
    var open: [(name: String, start: Int, depth: Int?, brackets: Int)] = []
    var depth = 0
    for (number, line) in code.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
    {
      if let match = line.firstMatch(of: /\b(?:func\s+([^\s(<]+)|(init)[?(<])/),
        !line.contains("self.init"),
        !line.contains(".init(")
      {
        open.append((String(match.1 ?? match.2 ?? ""), number, nil, 0))
      }
      for character in line {
        if let last = open.last, last.depth == nil {
          if character == "(" { open[open.count - 1].brackets += 1 }
          if character == ")" { open[open.count - 1].brackets -= 1 }
        }
        if character == "{" {
          if let last = open.last, last.depth == nil, last.brackets == 0 {
            open[open.count - 1].depth = depth
          }
          depth += 1
        } else if character == "}" {
          depth -= 1
          // A requirement of a protocol has no braces.
          while let last = open.last, last.depth == nil, last.brackets == 0 { open.removeLast() }
          if let last = open.last, last.depth == depth {
            found.append((last.name, number - last.start + 1))
            open.removeLast()
          }
        }
      }
    }
    return found
  }
}
