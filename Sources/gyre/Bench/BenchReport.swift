import FoundationEssentials

/// One row of a benchmark; the names of its properties are the fields of the JSON object.
protocol BenchResult: Encodable {
  /// The names of the columns of a CSV file, those of the JSON object.
  static var fields: [String] { get }

  /// The values of the columns; empty where the JSON object lacks the field.
  var values: [String] { get }

  /// The table for people, its first row the names of the columns.
  static func table(of results: [Self]) -> [[String]]
}

/// All rows of a benchmark.
struct BenchReport<Result: BenchResult>: Encodable {
  let environment: BenchEnvironment
  let results: [Result]

  init(_ results: [Result]) {
    environment = .current
    self.results = results
  }

  /// The results in a form for people or for programs.
  func formatted(_ format: TableFormat) throws -> String {
    switch format {
    case .text:
      let build = environment.instructionSet
      let compiled = build.isEmpty ? "" : ", compiled for \(build)"
      return "\(environment.processor), \(environment.cores) cores\(compiled)\n\n"
        + table(Result.table(of: results))
    case .markdown:
      let rows = Result.table(of: results)
      let rule = rows[0].map { _ in "---" }
      return ([rows[0], rule] + rows.dropFirst()).map { "| \($0.joined(separator: " | ")) |" }
        .joined(separator: "\n")
    case .csv:
      return ([Result.fields] + results.map(\.values))
        .map { $0.joined(separator: ",") }.joined(separator: "\n")
    case .json:
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
  }
}
