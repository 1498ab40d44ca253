import FoundationEssentials

/// A row of a results file, with what the file says about all its rows.
struct ResultRow {
  /// The benchmark that it comes from.
  let benchmark: String
  /// Where it was measured.
  let environment: JSONValue
  /// The fields that tell rows of this benchmark apart.
  let keys: [String]
  /// The fields.
  let fields: [String: JSONValue]

  /// A field; nil where the row has none or null.
  subscript(_ name: String) -> JSONValue? {
    fields[name].flatMap { $0 == .null ? nil : $0 }
  }

  /// Reads a results file: one JSON object, or one a line.
  ///
  /// - Throws: `UserError` that names the file.
  static func read(_ path: String) throws -> [ResultRow] {
    let text: Data
    do {
      text = try Data(contentsOf: URL(filePath: path))
    } catch {
      throw UserError("'\(path)' cannot be read; name a file that gyre bench has written.")
    }
    let documents =
      (try? [JSONValue(parsing: text)])
      ?? (try? text.split(separator: UInt8(ascii: "\n")).map { try JSONValue(parsing: $0) })
    guard let documents, !documents.isEmpty else {
      throw UserError(
        "'\(path)' is not JSON; write it with gyre bench … --format json or jsonl.")
    }
    return try documents.flatMap { document in
      guard let benchmark = document["benchmark"]?.string, let rows = document["results"]?.array
      else {
        throw UserError(
          "'\(path)' has no results of a benchmark; write it with gyre bench … --format json.")
      }
      let keys = document["keys"]?.array?.compactMap(\.string) ?? []
      return rows.compactMap(\.object).map {
        ResultRow(
          benchmark: benchmark, environment: document["environment"] ?? .null, keys: keys,
          fields: $0)
      }
    }
  }
}
