import Foundation

/// A Swift file of the package, with comments and the contents of strings blanked out.
struct SourceFile {
  /// From the package's root on.
  let path: String
  /// The lines as they are.
  let lines: [Substring]
  /// The code alone; other characters are spaces, so that places stay the same.
  let code: String

  /// The package's root.
  static let root = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  init(path: String) throws {
    self.path = path
    let text = try String(contentsOf: Self.root.appending(path: path), encoding: .utf8)
    lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    code = Self.code(of: text)
  }

  /// All Swift files under folders of the root.
  static func all(under folders: [String]) throws -> [SourceFile] {
    var files: [SourceFile] = []
    for folder in folders {
      let paths = FileManager.default.enumerator(atPath: root.appending(path: folder).path)
      for case let path as String in paths ?? .init() where path.hasSuffix(".swift") {
        files.append(try SourceFile(path: "\(folder)/\(path)"))
      }
    }
    return files.sorted { $0.path < $1.path }
  }

  /// A declaration of a type.
  private static var declaration: Regex<(Substring, Substring)> {
    /\b(?:struct|class|enum|protocol|actor|typealias)\s+([A-Z]\w*)/
  }

  /// The names of the types that it declares at file scope for others to use.
  var declaredNames: Set<String> {
    var names = Set<String>()
    var depth = 0
    for line in code.split(separator: "\n") {
      if depth == 0, !line.contains("private"), let match = line.firstMatch(of: Self.declaration) {
        names.insert(String(match.1))
      }
      depth += line.count { $0 == "{" || $0 == "(" } - line.count { $0 == "}" || $0 == ")" }
    }
    return names
  }

  /// The names of types in its code that do not follow a dot.
  var typeNames: Set<String> {
    Set(code.matches(of: /(?:^|[^.\w])([A-Z]\w*)/).map { String($0.1) })
  }

  /// Blanks comments and strings; an interpolation counts as part of its string.
  private static func code(of text: String) -> String {
    var result = ""
    result.reserveCapacity(text.utf8.count)
    var rest = Substring(text)
    while let character = rest.first {
      let end: Substring.Index
      if rest.hasPrefix("//") {
        end = rest.firstIndex(of: "\n") ?? rest.endIndex
      } else if rest.hasPrefix("\"\"\"") {
        let inside = rest.dropFirst(3)
        end = inside.firstRange(of: "\"\"\"")?.upperBound ?? rest.endIndex
      } else if character == "\"" {
        end = Self.endOfString(rest)
      } else {
        result.append(character)
        rest = rest.dropFirst()
        continue
      }
      for skipped in rest[..<end] { result.append(skipped == "\n" ? "\n" : " ") }
      rest = rest[end...]
    }
    return result
  }

  private static func endOfString(_ text: Substring) -> Substring.Index {
    var index = text.index(after: text.startIndex)
    while index < text.endIndex, text[index] != "\"", text[index] != "\n" {
      if text[index] == "\\" { text.formIndex(after: &index) }
      if index < text.endIndex { text.formIndex(after: &index) }
    }
    return index < text.endIndex ? text.index(after: index) : index
  }
}
