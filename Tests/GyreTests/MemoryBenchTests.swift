import Foundation
import TestSupport
import Testing

/// That memory is measured, and grows with the tokens of a rank.
@Suite("gyre bench memory")
struct MemoryBenchTests {
  @Test("peaks follow the formula as tokens and ranks grow")
  func growth() async throws {
    // Many heads, so that tensors outweigh the process; no computation to speak of.
    let report = try await BenchRows(
      [
        "memory", "--tokens", "256,1024", "--ranks", "1,4", "--heads", "32", "--head-dim", "128",
        "--causal", "false",
      ], ranks: 4)
    report.expectKeysTellRowsApart()
    report.expectPositive(["seconds", "peakResidentBytes", "processBytes", "formulaBytes", "ratio"])
    #expect(report.rows.count == 8 && report.rows.allSatisfy { $0["peakReset"] is Bool })
    for pass in ["forward", "backward"] {
      let peak = { (tokens: Int, ranks: Int) -> Double in
        let row = report.rows.first {
          $0["pass"] as? String == pass && $0["tokens"] as? Int == tokens
            && $0["ranks"] as? Int == ranks
        }
        return (row?["peakResidentBytes"] as? Double ?? 0) - (row?["processBytes"] as? Double ?? 0)
      }
      // Four times the tokens take about four times the memory, and four ranks much less each.
      #expect((2.5...4.5).contains(peak(1024, 1) / peak(256, 1)), "\(report.rows)")
      #expect(peak(1024, 4) < 0.75 * peak(1024, 1), "\(report.rows)")
    }
    for row in report.rows where row["tokens"] as? Int == 1024 {
      #expect((0.7...1.3).contains(row["ratio"] as? Double ?? 0), "\(row)")
    }
  }
}
