import Foundation
import TestSupport
import Testing

/// A results file of a benchmark that ran as a job.
struct BenchRows {
  let environment: [String: Any]
  let keys: [String]
  let rows: [[String: Any]]

  /// Runs `gyre bench …` and reads what it prints.
  init(_ arguments: [String], ranks: Int) async throws {
    let result = try await Self.run(arguments + ["--format", "json"], ranks: ranks)
    try #require(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    let report = try #require(object as? [String: Any])
    #expect(report["benchmark"] as? String == arguments[0])
    environment = try #require(report["environment"] as? [String: Any])
    keys = try #require(report["keys"] as? [String])
    rows = try #require(report["results"] as? [[String: Any]])
    #expect(environment["ranks"] as? Int == ranks && environment["machines"] as? Int == 1)
  }

  /// Runs `gyre bench …` as a job.
  static func run(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["bench"] + arguments, ranks: ranks)
  }

  /// Expects numbers above 0 in every row.
  func expectPositive(_ names: [String], in rows: [[String: Any]]? = nil) {
    for row in rows ?? self.rows {
      for name in names {
        #expect((row[name] as? NSNumber)?.doubleValue ?? 0 > 0, "\(name) of \(row)")
      }
    }
  }

  /// Expects that the rows differ in their keys, and have all of them.
  func expectKeysTellRowsApart() {
    let texts = rows.map { row in keys.map { "\(row[$0] ?? "")" }.joined(separator: " ") }
    #expect(Set(texts).count == rows.count)
    #expect(rows.allSatisfy { row in keys.allSatisfy { row[$0] != nil } })
  }
}

/// How many columns after one of a CSV header another is: the masks of a row are between them.
func columns(of header: Substring, from first: String, to last: String) -> Int? {
  let names = header.split(separator: ",")
  guard let start = names.firstIndex(where: { $0 == first }),
    let end = names.firstIndex(where: { $0 == last })
  else { return nil }
  return end - start
}
