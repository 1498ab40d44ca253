import Foundation
import Testing

/// The drawing of the modules in Docs/Architecture.md is that of Package.swift.
@Suite struct ModuleTests {
  /// Module names, and of each those that it uses.
  private typealias Graph = [String: Set<String>]

  /// The targets in Sources, by what Package.swift says of them.
  private func manifest() throws -> Graph {
    let text = try String(
      contentsOf: SourceFile.root.appending(path: "Package.swift"), encoding: .utf8)
    let folders = try FileManager.default.contentsOfDirectory(
      atPath: SourceFile.root.appending(path: "Sources").path)
    var graph: Graph = [:]
    let targets = text.matches(
      of:
        #/
          \.(?:executableTarget|target|systemLibrary)\(\s*name:\ "(\w+)"
          (.*?)
          (?=\.(?:executableTarget|testTarget|target|systemLibrary|plugin)\(\s*name:|\z)
        /#
        .dotMatchesNewlines())
    for target in targets where folders.contains(String(target.1)) {
      let list = target.2.firstMatch(
        of: /dependencies: \[(.*?)\],?\s*(?:swiftSettings|path|plugins|\))/.dotMatchesNewlines())
      let names = list?.1.matches(of: /(?:^|[\[,\s])"(\w+)"/).map { String($0.1) } ?? []
      graph[String(target.1)] = Set(names.filter(folders.contains))
    }
    return graph
  }

  /// The arrows of the first Mermaid drawing.
  private func drawing() throws -> Graph {
    let text = try String(
      contentsOf: SourceFile.root.appending(path: "Docs/Architecture.md"), encoding: .utf8)
    let body = try #require(text.firstMatch(of: /```mermaid\n(.*?)```/.dotMatchesNewlines())).1
    var graph: Graph = [:]
    for line in body.split(separator: "\n") {
      guard let match = line.firstMatch(of: /^\s*([\w &]+?) --> ([\w &]+?)\s*$/) else { continue }
      let ends = [match.1, match.2].map {
        $0.split(separator: "&").map { String($0.trimming { $0 == " " }) }
      }
      for from in ends[0] { graph[from, default: []].formUnion(ends[1]) }
    }
    return graph
  }

  @Test("what a module uses is drawn, or follows from what is drawn")
  func drawn() throws {
    let (manifest, drawing) = (try manifest(), try drawing())
    #expect(manifest.count > 8)
    for (module, uses) in manifest {
      let reached = Self.reached(from: module, drawing)
      #expect(
        uses.subtracting(reached) == [], "\(module) uses what no arrow of the drawing leads to")
    }
  }

  @Test("every arrow that is drawn is in Package.swift, and none leads back")
  func arrows() throws {
    let (manifest, drawing) = (try manifest(), try drawing())
    for (module, uses) in drawing {
      #expect(uses.subtracting(manifest[module] ?? []) == [], "arrows from \(module) that are none")
    }
    for module in manifest.keys {
      #expect(!Self.reached(from: module, manifest).contains(module), "\(module) uses itself")
    }
  }

  private static func reached(from start: String, _ graph: Graph) -> Set<String> {
    var reached: Set<String> = []
    var rest = Array(graph[start] ?? [])
    while let next = rest.popLast() {
      if reached.insert(next).inserted { rest += graph[next] ?? [] }
    }
    return reached
  }
}

extension Substring {
  fileprivate func trimming(_ isLeftOut: (Character) -> Bool) -> Substring {
    let start = drop(while: isLeftOut)
    guard let last = start.lastIndex(where: { !isLeftOut($0) }) else { return start.prefix(0) }
    return start[...last]
  }
}
