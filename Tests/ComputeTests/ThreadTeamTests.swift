import Compute
import Synchronization
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
}
