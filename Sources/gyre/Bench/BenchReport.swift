/// One row of a benchmark; the names of its properties are the fields of the JSON object.
protocol BenchResult: Encodable {
  /// The benchmark's name on the command line.
  static var benchmark: String { get }

  /// The fields that tell rows apart: what was measured, not what came out.
  static var keys: [String] { get }

  /// The fields of what came out, in the order of the columns of a CSV file; there they follow the
  /// keys.
  static var figures: [String] { get }

  /// The table for people, its first row the names of the columns.
  static func table(of results: [Self]) -> [[String]]
}

/// What all rows of a results file have in common.
protocol BenchSetting: Encodable, CustomStringConvertible {}

/// All rows of a benchmark: a results file.
struct BenchReport<Result: BenchResult, Setting: BenchSetting>: Encodable {
  let benchmark: String
  let environment: Setting
  let keys = Result.keys
  let results: [Result]

  /// - Parameters:
  ///   - environment: where the rows were measured, or what they rest on.
  ///   - benchmark: its name, where several have the same rows.
  init(_ results: [Result], in environment: Setting, of benchmark: String = Result.benchmark) {
    self.benchmark = benchmark
    self.environment = environment
    self.results = results
  }

  /// The results in a form for people or for programs.
  func formatted(_ format: TableFormat) throws -> String {
    switch format {
    case .text:
      return "\(environment)\n\n" + table(Result.table(of: results))
    case .markdown:
      return markdownTable(Result.table(of: results))
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
