import Reporting
package import Results

/// The rows of a figure, from one file or several.
package struct PlotRows {
  /// A row, and what tells its file from others (empty if there is one file).
  struct Entry {
    let row: ResultRow
    let file: String
  }

  /// Rows that become one series, or one thing with a name.
  struct Group {
    let label: String
    let style: Series.Style
    let rows: [ResultRow]
  }

  let entries: [Entry]

  /// - Parameter files: whose rows of `benchmark` are shown.
  package init(_ files: [ResultsFile], benchmark: String) {
    let labels = files.count > 1 ? Self.labels(of: files) : [""]
    entries = zip(files, labels).flatMap { file, label in
      file.rows.filter { $0.benchmark == benchmark }.map { Entry(row: $0, file: label) }
    }
  }

  private init(entries: [Entry]) { self.entries = entries }

  var rows: [ResultRow] { entries.map(\.row) }

  /// Those that have what is drawn.
  ///
  /// - Throws: a sentence that names what none of them has.
  func having(_ fields: String...) throws -> PlotRows {
    let kept = entries.filter { entry in fields.allSatisfy { entry.row.positive($0) != nil } }
    guard !kept.isEmpty else {
      throw UserError.usage(
        "no row has all of \(fields.joined(separator: ", ")), which this figure shows; "
          + "choose another --kind or measure again.")
    }
    return PlotRows(entries: kept)
  }

  /// Groups of rows that differ only in `x` and what follows from it, ascending in `x`.
  ///
  /// Where two keys tell groups apart, one chooses the colour, the other dash and marker.
  ///
  /// - Parameters:
  ///   - ignored: keys that follow from `x`.
  ///   - leading: the key that comes first, if groups differ in it.
  func groups(
    along x: String, ignoring ignored: [String] = [], leading: String? = nil
  ) -> [Group] {
    let identities = self.identities
    let names = keys.filter { $0 != x && !ignored.contains($0) }
    let found = KeyWording.distinguishing(names, of: identities)
    let telling = found.filter { $0 == leading } + found.filter { $0 != leading }
    var order: [[JSONValue]] = []
    var members: [[JSONValue]: [ResultRow]] = [:]
    for (entry, identity) in zip(entries, identities) {
      let value = telling.map { identity[$0] ?? .null }
      if members[value] == nil { order.append(value) }
      members[value, default: []].append(entry.row)
    }
    let first = Self.distinct(order.map { $0.first ?? .null })
    let second = Self.distinct(order.map { $0.count > 1 ? $0[1] : .null })
    let isCross =
      telling.count == 2 && max(first.count, second.count) <= 6
      && min(first.count, second.count) <= 4
    return order.enumerated().map { index, value in
      let values = Dictionary(uniqueKeysWithValues: zip(telling, value))
      var (hue, shape) = (index, index / 6)
      if isCross {
        (hue, shape) = (
          first.firstIndex(of: value[0]) ?? 0, second.firstIndex(of: value[1]) ?? 0
        )
        if second.count > 4 { swap(&hue, &shape) }
      }
      return Group(
        label: KeyWording.phrase(telling, of: values),
        style: Series.Style(
          color: .cycle(hue), dash: 1 + shape % 4,
          marker: Self.markers[(isCross ? shape : index) % 5]),
        rows: (members[value] ?? []).sorted { $0[x] ?? 0 < $1[x] ?? 0 })
    }
  }

  /// A name for each row: what tells it from the others.
  var names: [String] {
    let identities = self.identities
    let telling = KeyWording.distinguishing(keys, of: identities)
    return identities.map { KeyWording.phrase(telling, of: $0) }
  }

  /// Whether rows differ in a key.
  func differ(in key: String) -> Bool { Set(rows.map { $0.fields[key] ?? .null }).count > 1 }

  /// Filled markers of gnuplot; the open ones are those before them.
  private static let markers = [7, 5, 9, 11, 13]

  private var keys: [String] {
    Self.distinct(rows.flatMap(\.keys)) + ["file"]
  }

  private var identities: [[String: JSONValue]] {
    entries.map { $0.row.identity.merging(["file": .string($0.file)]) { $1 } }
  }

  private static func distinct<Value: Hashable>(_ values: [Value]) -> [Value] {
    var seen: Set<Value> = []
    return values.filter { seen.insert($0).inserted }
  }

  /// What tells files apart: a field of their environments, or else their names.
  private static func labels(of files: [ResultsFile]) -> [String] {
    for name in ["commit", "instructionSet", "processor", "cores", "openMPI", "openMPIParameters"] {
      let labels = files.map {
        $0.environmentValues(name).map { EnvironmentDifference.text($0, of: name) }
          .joined(separator: " or ")
      }
      if Set(labels).count == files.count {
        return labels.map {
          name == "cores" ? "\($0) cores" : name == "commit" ? "commit \($0)" : $0
        }
      }
    }
    let names = files.map { $0.path.split(separator: "/").last.map(String.init) ?? $0.path }
    return Set(names).count == files.count ? names : files.map(\.path)
  }
}

extension [ResultsFile] {
  /// Where all of it was measured, as far as it is the same for all.
  package var place: String {
    func shared(_ name: String) -> JSONValue? {
      let values = Set(flatMap { $0.environmentValues(name) })
      return values.count == 1 ? values.first : nil
    }
    if let assumed = shared("assumed")?.string { return assumed }
    var parts: [String] = []
    if let processor = shared("processor")?.string { parts.append(processor) }
    if let cores = shared("cores")?.int { parts.append("\(cores) core\(cores == 1 ? "" : "s")") }
    if let set = shared("instructionSet")?.string, !set.isEmpty { parts.append(set) }
    if let library = shared("openMPI")?.string, !library.isEmpty { parts.append(library) }
    if let commit = shared("commit")?.string { parts.append("commit \(commit.prefix(9))") }
    let isCrowded = contains { $0.environmentValues("oversubscribed").contains(.bool(true)) }
    if isCrowded { parts.append("some with more threads than cores") }
    return parts.joined(separator: " · ")
  }
}
