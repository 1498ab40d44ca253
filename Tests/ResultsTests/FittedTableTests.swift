import Results
import Testing

/// Tables that fit a terminal.
@Suite("Fitted tables")
struct FittedTableTests {
  private let rows = [
    ["pass", "mask", "ranks", "time", "spread", "sent"],
    ["forward", "causal", "1", "10.0 ms", "1.0 %", "0 B"],
    ["backward", "causal", "2", "20.0 ms", "2.0 %", "24.0 MiB"],
  ]

  private func fitted(_ width: Int?, _ rows: [[String]]? = nil) -> FittedTable {
    FittedTable(rows ?? self.rows, keys: 3, dispensable: ["sent", "spread"], width: width)
  }

  @Test("what all rows have in common goes first, then what can be done without")
  func fitting() {
    #expect(fitted(nil).rows == rows && fitted(200).rows == rows && fitted(200).common == nil)
    let narrow = fitted(50)
    #expect(narrow.common == "In all rows: mask causal.")
    #expect(
      narrow.rows[0] == ["pass", "ranks", "time", "spread", "sent"] && narrow.leftOut.isEmpty)
    let narrower = fitted(40)
    #expect(
      narrower.rows[0] == ["pass", "ranks", "time", "spread"] && narrower.leftOut == ["sent"])
    #expect(
      narrower.text.split(separator: "\n").dropFirst().prefix(3).allSatisfy { $0.count <= 40 })
    #expect(narrower.text.hasSuffix("For want of room without sent; --columns all shows all."))
    // What tells rows apart, and the time, stay however narrow it is.
    #expect(fitted(5).rows[0] == ["pass", "ranks", "time"])
    #expect(fitted(5, Array(rows.prefix(2))).rows[0] == ["ranks", "time"])
    #expect(fitted(5, Array(rows.prefix(1))).rows[0] == ["pass", "mask", "ranks", "time"])
  }
}
