import FoundationEssentials
package import Reporting

/// One measured thing of a results file.
package struct ResultRow {
  package let benchmark: String
  /// The names of the fields that tell rows of this benchmark apart.
  package let keys: [String]
  package let fields: [String: JSONValue]
  package let environment: [String: JSONValue]

  /// A finite number; nil where the field is absent, null or anything else.
  package subscript(_ name: String) -> Double? {
    guard let value = fields[name]?.double, value.isFinite else { return nil }
    return value
  }

  /// A number above zero.
  package func positive(_ name: String) -> Double? {
    guard let value = self[name], value > 0 else { return nil }
    return value
  }

  /// The median of the seconds with its confidence interval; of no width where that is not known.
  package var seconds: (median: Double, low: Double, high: Double)? {
    guard let median = positive("seconds") else { return nil }
    return (
      median, min(positive("secondsLow") ?? median, median),
      max(positive("secondsHigh") ?? median, median)
    )
  }

  /// What was measured.
  package var identity: [String: JSONValue] {
    var values = ["benchmark": JSONValue.string(benchmark)]
    for key in keys { values[key] = fields[key] ?? .null }
    return values
  }
}

/// What `gyre bench … --format json` or `jsonl` has written, once or several times.
package struct ResultsFile {
  package let path: String
  /// A row that is measured again further down stands there only.
  package let rows: [ResultRow]
  /// How many rows are left out because they are measured again further down.
  package let replaced: Int

  /// - Throws: a sentence about what is wrong with the file.
  package init(reading path: String) throws {
    guard let data = FileManager.default.contents(atPath: path) else {
      let exists = FileManager.default.fileExists(atPath: path)
      throw UserError.usage(
        exists
          ? "\(path) cannot be read; give a results file that you may read."
          : "there is no file \(path); write one with gyre bench … --format json > \(path).")
    }
    try self.init(Array(data), path: path)
  }

  /// - Parameters:
  ///   - contents: what is in it.
  ///   - path: its name, for errors.
  package init(_ contents: [UInt8], path: String) throws {
    self.path = path
    var rows: [ResultRow] = []
    for value in try JSONSequence(contents, path: path).values() {
      rows += try Self.rows(of: value, path: path)
    }
    guard !rows.isEmpty else {
      throw UserError.usage("\(path) has no results; measure with gyre bench … --format json.")
    }
    var last: [[String: JSONValue]: Int] = [:]
    for (index, row) in rows.enumerated() { last[row.identity] = index }
    self.rows = rows.enumerated().filter { last[$1.identity] == $0 }.map(\.element)
    replaced = rows.count - self.rows.count
  }

  private static func rows(of report: JSONValue, path: String) throws -> [ResultRow] {
    guard let benchmark = report["benchmark"]?.string, let results = report["results"]?.array,
      let keys = report["keys"]?.array?.compactMap(\.string)
    else {
      let missing = ["benchmark", "keys", "results"].filter { report[$0] == nil }
      throw UserError.usage(
        "\(path) is JSON but no results file"
          + (missing.isEmpty ? "" : " (it has no \(missing.joined(separator: ", ")))")
          + "; gyre bench … --format json or jsonl writes one.")
    }
    return results.compactMap(\.object).map {
      ResultRow(
        benchmark: benchmark, keys: keys, fields: $0,
        environment: report["environment"]?.object ?? [:])
    }
  }

  /// What a field of the environments says, without repetition.
  package func environmentValues(_ name: String) -> [JSONValue] {
    var values: [JSONValue] = []
    for row in rows {
      let value = row.environment[name] ?? .null
      if !values.contains(value) { values.append(value) }
    }
    return values
  }
}
