import Foundation
import TestSupport
import Testing

/// That links are measured as told and reported; never how fast that was.
@Suite("gyre bench link")
struct LinkBenchTests {
  @Test(
    "each pair, shift and exchange has a row for each size, and each kind a fit", arguments: [2, 3])
  func rows(ranks: Int) async throws {
    let report = try await BenchRows(
      ["link", "--bytes", "8,5000,300000", "--repeats", "1"], ranks: ranks)
    report.expectKeysTellRowsApart()
    let ofKind = { (kind: String) in report.rows.filter { $0["kind"] as? String == kind } }
    let pairs = ofKind("pair").map { [$0["from"] as? Int, $0["to"] as? Int, $0["bytes"] as? Int] }
    let ends: [[Int?]] = ranks == 2 ? [[0, 1]] : [[0, 1], [1, 2], [2, 0]]
    var expected: [[Int?]] = []
    for bytes in [8, 5000, 300_000] { expected += ends.map { $0 + [bytes] } }
    #expect(pairs == expected)
    for (kind, peers) in [("pair", 1), ("shift", 1), ("exchange", ranks - 1)] {
      let rows = ofKind(kind)
      report.expectPositive(["seconds", "secondsLow", "secondsHigh", "bytesPerSecond"], in: rows)
      for row in rows {
        let value = { (name: String) in (row[name] as? NSNumber)?.doubleValue ?? -1 }
        #expect(row["sameHost"] as? Bool == true && row["linkBytesPerSecond"] is NSNull)
        #expect(row["repeats"] as? Int == 1 && value("cpuSeconds") >= 0)
        #expect(row["ranks"] as? Int == (kind == "pair" ? 2 : ranks))
        let moved = value("bytesPerSecond") * value("seconds")
        #expect(abs(moved / (value("bytes") * Double(peers)) - 1) < 1e-9, "\(row)")
      }
    }
    let fits = ofKind("fit")
    #expect(fits.map { $0["fitOf"] as? String } == ["pair", "shift", "exchange"])
    for fit in fits {
      for name in ["latencySeconds", "secondsPerByte", "cpuSecondsPerMessage", "cpuSecondsPerByte"]
      {
        #expect((fit[name] as? NSNumber)?.doubleValue ?? -1 >= 0, "\(name)")
      }
      #expect(fit["bytes"] is NSNull && fit["seconds"] is NSNull)
    }
    #expect(report.rows.count == 3 * (ends.count + 2) + 3)
  }

  @Test("one size has no line")
  func oneSize() async throws {
    let report = try await BenchRows(["link", "--bytes", "64", "--repeats", "1"], ranks: 2)
    #expect(report.rows.map { $0["kind"] as? String } == ["pair", "shift", "exchange"])
  }
}
