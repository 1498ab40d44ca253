import Compute
import Synchronization
import Tensors
import Testing

@Suite("The thread team")
struct ThreadTeamTests {
  @Test(
    "parts cover everything once, and do not depend on the number of threads",
    arguments: [0, 1, 100, ThreadTeam.smallestPart, 3 * ThreadTeam.smallestPart + 7])
  func parts(count: Int) {
    func parts(_ threads: Int, cost: Int) -> [Range<Int>] {
      let seen = Mutex<[Range<Int>]>([])
      ThreadTeam(threads: threads).forEachPart(of: count, cost: cost) { part in
        seen.withLock { $0.append(part) }
      }
      return seen.withLock { $0.sorted { $0.lowerBound < $1.lowerBound } }
    }
    for cost in [1, 5, 1 << 20] where cost < 100 || count < 1000 {
      let one = parts(1, cost: cost)
      #expect(one.flatMap(Array.init).elementsEqual(0..<count))
      #expect(parts(4, cost: cost) == one)
    }
  }

  @Test("what is long is shared")
  func sharing() {
    let count = 64 * ThreadTeam.smallestPart
    var polled = 0
    let units = Mutex(0)
    ThreadTeam(threads: 3).forEachPart(of: count, poll: { polled += $0 }) { _ in
      units.withLock { $0 += 1 }
    }
    #expect(units.withLock { $0 } == 64)
    // The caller is told of its own parts.
    #expect((0...count).contains(polled) && polled % ThreadTeam.smallestPart == 0)
  }

  private struct Refusal: Error, Equatable { let row: Int }

  @Test("parts of memory are whole rows, and of failures the first one is told", arguments: [1, 3])
  func rows(threads: Int) throws {
    let team = ThreadTeam(threads: threads)
    let (count, length) = (1000, 7)
    func fill(refusing refused: Set<Int>) throws -> [Int32] {
      var numbers = [Int32](repeating: -1, count: count * length + 1)
      var all = numbers.mutableSpan
      var part = all.part(0..<count * length)
      try team.forEachPart(of: &part, rowLength: length, partLength: 50) { part, rows in
        #expect(part.count == rows.count * length && rows.count <= 7)
        for row in rows {
          if refused.contains(row) { throw Refusal(row: row) }
          for column in 0..<length {
            part[(row - rows.lowerBound) * length + column] = Int32(row * length + column)
          }
        }
      }
      return numbers
    }
    #expect(try fill(refusing: []) == (0..<Int32(count * length)).map { $0 } + [-1])
    for _ in 0..<20 {
      #expect(throws: Refusal(row: 31)) { try fill(refusing: [998, 31, 35, 600]) }
    }
    var none = [Int32]()
    var span = none.mutableSpan
    try team.forEachPart(of: &span, rowLength: 0) { _, _ in Issue.record("there are no rows") }
  }

  @Test("values keep their order", arguments: [1, 4])
  func values(threads: Int) throws {
    let team = ThreadTeam(threads: threads)
    #expect(try team.map(100) { $0 * $0 } == (0..<100).map { $0 * $0 })
    #expect(try team.map(0) { $0 } == [])
    for _ in 0..<20 {
      #expect(throws: Refusal(row: 5)) {
        try team.map(100) { index -> Int in
          if index % 7 == 5 { throw Refusal(row: index) }
          return index
        }
      }
    }
  }

  @Test("the first number that is not finite is found, and copies are whole", arguments: [1, 3])
  func numbers(threads: Int) {
    let team = ThreadTeam(threads: threads)
    let count = 3 * ThreadTeam.smallestPart + 5
    var numbers = (0..<count).map { Float($0) }
    #expect(team.firstNonFiniteIndex(of: numbers.span) == nil)
    for index in [count - 1, 2 * ThreadTeam.smallestPart + 3, 17] {
      numbers[index] = index % 2 == 0 ? .nan : -.infinity
      #expect(team.firstNonFiniteIndex(of: numbers.span) == index)
    }
    for index in numbers.indices { numbers[index] = Float(index) }
    var copies = [Float](repeating: -1, count: count + 1)
    var all = copies.mutableSpan
    var target = all.part(0..<count)
    team.copy(numbers.span, to: &target)
    #expect(copies == numbers + [-1])
  }
}
