import MPI
import Testing

@Suite("Pauses of a wait")
struct BackoffTests {
  @Test("nothing moves: looks without a pause, then yields, then sleeps up to 50 µs")
  func idle() {
    var backoff = Backoff()
    let pauses = (0..<Backoff.immediateLooks + Backoff.yieldingLooks + 9).map { _ in
      backoff.pause(hasMoved: false)
    }
    #expect(pauses.prefix(Backoff.immediateLooks).allSatisfy { $0 == .none })
    #expect(
      pauses.dropFirst(Backoff.immediateLooks).prefix(Backoff.yieldingLooks)
        .allSatisfy { $0 == .yield })
    #expect(
      pauses.suffix(9)
        == [1, 2, 4, 8, 16, 32, 50, 50, 50].map { .sleep(nanoseconds: 1_000 * $0) })
  }

  @Test("whatever moves makes the next looks immediate, however long the wait has slept")
  func movement() {
    var backoff = Backoff()
    for _ in 0..<10_000 { _ = backoff.pause(hasMoved: false) }
    #expect(backoff.pause(hasMoved: false) == .sleep(nanoseconds: 50_000))
    #expect(backoff.pause(hasMoved: true) == .none)
    for _ in 0..<Backoff.immediateLooks { #expect(backoff.pause(hasMoved: false) == .none) }
    #expect(backoff.pause(hasMoved: false) == .yield)
  }

  @Test("a message that moves piece by piece never sleeps")
  func pieces() {
    var backoff = Backoff()
    for look in 0..<100_000 {
      let pause = backoff.pause(hasMoved: look % (Backoff.yieldingLooks / 2) == 0)
      if case .sleep = pause { Issue.record("look \(look) sleeps") }
    }
  }
}
