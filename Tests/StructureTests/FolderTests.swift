import Testing

/// Within a module folders use each other one way only, so that they can be read one after the
/// other.
@Suite struct FolderTests {
  /// For each module, which of its folders use which.
  private func uses() throws -> [String: [String: [String: String]]] {
    var modules: [String: [(folder: String, file: SourceFile)]] = [:]
    for file in try SourceFile.all(under: ["Sources"]) {
      let parts = file.path.split(separator: "/")
      guard parts.count > 2 else { continue }
      // A file in the module's own folder belongs to no other.
      let folder = parts.count > 3 ? String(parts[2]) : "."
      modules[String(parts[1]), default: []].append((folder, file))
    }
    return modules.mapValues(Self.uses)
  }

  /// Which folders use which, each with an example.
  private static func uses(
    _ files: [(folder: String, file: SourceFile)]
  ) -> [String: [String: String]] {
    var homes: [String: Set<String>] = [:]
    for (folder, file) in files {
      for name in file.declaredNames { homes[name, default: []].insert(folder) }
    }
    var uses: [String: [String: String]] = [:]
    for (folder, file) in files {
      for name in file.typeNames.sorted() {
        guard let home = homes[name], home.count == 1, let other = home.first, other != folder
        else {
          continue
        }
        uses[folder, default: [:]][other] = "\(name) in \(file.path)"
      }
    }
    return uses
  }

  @Test("no two folders of a module use each other, not even by way of others")
  func noCycles() throws {
    for (module, uses) in try uses() {
      for folder in uses.keys {
        let cycle = Self.cycle(from: folder, uses)
        #expect(cycle == nil, "\(module): \(cycle?.joined(separator: ", ") ?? "")")
      }
    }
  }

  /// The uses that lead from a folder back to it.
  private static func cycle(from start: String, _ uses: [String: [String: String]]) -> [String]? {
    var seen: Set<String> = []
    var ways: [(folder: String, way: [String])] = [(start, [])]
    while !ways.isEmpty {
      let (folder, way) = ways.removeFirst()
      for (next, example) in (uses[folder] ?? [:]).sorted(by: { $0.key < $1.key }) {
        let longer = way + ["\(folder) uses \(next) (\(example))"]
        if next == start { return longer }
        if seen.insert(next).inserted { ways.append((next, longer)) }
      }
    }
    return nil
  }
}
