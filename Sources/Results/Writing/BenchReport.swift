import Glibc
import Reporting

/// One row of a benchmark; the names of its properties are the fields of the JSON object.
package protocol BenchResult: Encodable {
  /// The benchmark's name on the command line.
  static var benchmark: String { get }

  /// The fields that tell rows apart: what was measured, not what came out.
  static var keys: [String] { get }

  /// The fields of what came out, in the order of the columns of a CSV file; there they follow the
  /// keys.
  static var figures: [String] { get }

  /// The table for people, its first row the names of the columns.
  static func table(of results: [Self]) -> [[String]]

  /// The names of all columns that such a table may have.
  static var columns: [String] { get }

  /// How many columns from the left only tell rows apart.
  static var keyColumns: Int { get }

  /// The columns that a narrow terminal can do without, those first that are left out first.
  static var dispensableColumns: [String] { get }

  /// What people should be told of the results below the table, a sentence a line.
  static func remarks(on results: [Self]) -> [String]
}

extension BenchResult {
  package static var columns: [String] { table(of: [])[0] }
  package static var dispensableColumns: [String] {
    Array(columns.dropFirst(keyColumns + 1).reversed())
  }
  package static func remarks(on results: [Self]) -> [String] { [] }
}

/// What all rows of a results file have in common.
package protocol BenchSetting: Encodable, CustomStringConvertible {}

/// All rows of a benchmark: a results file.
package struct BenchReport<Result: BenchResult, Setting: BenchSetting>: Encodable {
  package let benchmark: String
  package let environment: Setting
  package let keys = Result.keys
  package let results: [Result]
  /// Sentences for people besides those that follow from the results.
  private let remarks: [String]

  private enum CodingKeys: CodingKey {
    case benchmark, environment, keys, results
  }

  /// - Parameters:
  ///   - environment: where the rows were measured, or what they rest on.
  ///   - benchmark: its name, where several have the same rows.
  ///   - remarks: what people should be told besides.
  package init(
    _ results: [Result], in environment: Setting, of benchmark: String = Result.benchmark,
    remarks: [String] = []
  ) {
    self.benchmark = benchmark
    self.environment = environment
    self.results = results
    self.remarks = remarks
  }

  /// The results in a form for people or for programs.
  package func formatted(
    _ format: TableFormat, _ columns: ColumnChoice? = .all, width: Int? = nil
  ) throws -> String {
    switch format {
    case .text:
      let fitted = FittedTable(
        rows(columns), keys: Result.keyColumns, dispensable: Result.dispensableColumns,
        width: columns == nil ? width : nil)
      let sentences = (remarks + Result.remarks(on: results)).joined(separator: "\n")
      return (["\(environment)", fitted.text, sentences].filter { !$0.isEmpty })
        .joined(separator: "\n\n")
    case .markdown:
      return markdownTable(rows(columns))
    case .csv:
      let fields = Result.keys + Result.figures
      return try ([fields] + results.map { try cells(of: $0, fields) })
        .map { $0.joined(separator: ",") }.joined(separator: "\n")
    case .json:
      return try jsonLine(self)
    case .jsonl:
      return try results.map { try jsonLine(BenchReport([$0], in: environment, of: benchmark)) }
        .joined(separator: "\n")
    }
  }

  /// The columns that were asked for, in that order.
  private func rows(_ columns: ColumnChoice?) -> [[String]] {
    let all = Result.table(of: results)
    guard case .named(let names) = columns else { return all }
    let places = names.compactMap { ColumnChoice.place(of: $0, in: all[0]) }
    return all.map { row in places.map { row[$0] } }
  }

  /// A row of a CSV file; empty where the JSON object lacks the field.
  private func cells(of result: Result, _ fields: [String]) throws -> [String] {
    let object = try JSONValue(result)
    return fields.map { field in
      switch object[field] {
      case .bool(let value): "\(value)"
      case .some(let value): csvCell(value.word ?? "")
      case nil: ""
      }
    }
  }
}
