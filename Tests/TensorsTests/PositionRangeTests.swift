import Tensors
import Testing

@Suite("Runs of positions")
struct PositionRangeTests {
  @Test("A run is its positions, in order")
  func positions() {
    let run = PositionRange(start: 3, stride: 4, count: 8)
    #expect(Array(run) == [3, 7, 11, 15, 19, 23, 27, 31])
    #expect(run.first == 3)
    #expect(run.last == 31)
    #expect(run[5] == 23)
    #expect(!run.isContiguous)
    #expect(run.description == "3, 7, …, 31 (8 positions, stride 4)")
    #expect(Array(PositionRange(5..<9)) == [5, 6, 7, 8])
    #expect(PositionRange(5..<9).description == "5..<9")
    #expect(PositionRange(start: 2, stride: 7, count: 2).description == "2, 9")
  }

  @Test("An empty run has no first and no last position")
  func empty() {
    let run = PositionRange(start: 9, stride: 3, count: 0)
    #expect(run.isEmpty)
    #expect(run.first == nil)
    #expect(run.last == nil)
    #expect(run.isContiguous)
    #expect(!run.contains(9))
    #expect(Array(run) == [])
  }

  @Test("A slice by local indices keeps the stride", arguments: 0...6)
  func slices(lower: Int) {
    let run = PositionRange(start: 1, stride: 5, count: 6)
    for upper in lower...6 {
      #expect(Array(run.slice(lower..<upper)) == Array(Array(run)[lower..<upper]))
    }
    #expect(Array(run.prefix(lower)) == Array(Array(run).prefix(lower)))
    #expect(run.prefix(99) == run)
  }

  @Test("Membership is what a search of the positions says")
  func membership() {
    let run = PositionRange(start: 4, stride: 3, count: 5)
    for position in -2..<25 {
      #expect(run.contains(position) == Array(run).contains(position))
    }
  }

  @Test("What is not a run is refused")
  func refused() async {
    await #expect(processExitsWith: .failure) {
      print(PositionRange(start: 0, stride: 0, count: 1))
    }
    await #expect(processExitsWith: .failure) {
      print(PositionRange(start: 0, stride: -1, count: 1))
    }
    await #expect(processExitsWith: .failure) { print(PositionRange(start: 0, count: -1)) }
  }

  @Test("A run that leaves the integers is refused")
  func overflow() async {
    await #expect(processExitsWith: .failure) {
      print(PositionRange(start: 1, stride: .max / 2, count: 3))
    }
  }

  @Test func positionsOfAShard() {
    let runs = [
      PositionRange(4..<7), PositionRange(0..<0), PositionRange(start: 20, stride: 5, count: 2),
    ]
    #expect((0..<5).map(runs.position) == [4, 5, 6, 20, 25])
  }
}
