import Benchmarks
import Testing

/// What people are told below a table.
@Suite("Remarks")
struct RemarkTests {
  @Test("how much can hide follows from the two times")
  func room() {
    #expect(
      OverlapFigures.room(transfers: 2.1, computing: 1)
        == "Transfers take 2.10 times the computing: at most 48 % of them can be hidden.")
    #expect(
      OverlapFigures.room(transfers: 1, computing: 4)
        == "Transfers take 0.25 times the computing: all of them can be hidden.")
    #expect(OverlapFigures.room(transfers: 1, computing: 0) == nil)
  }

  @Test("a wide spread is remarked on, a narrow one is not")
  func spread() {
    #expect(Spread.remark([0.01, 0.1]) == nil && Spread.remark([]) == nil)
    #expect(Spread.remark([0.01, 1.01])?.hasPrefix("A spread of 101.0 %: ") == true)
  }
}
