import Dispatch
import Glibc
import MPI
package import SequenceParallel

/// A job whose ranks are threads of this process, of which one runs at a time.
///
/// Every call of the wire may hand over to another rank, and every wait does; which rank goes on,
/// and what the network moves meanwhile, is drawn from the seed. A job therefore runs the same way
/// each time it is given the same seed, with orders and delays that no cluster would show in years.
package final class LoopbackJob: @unchecked Sendable {
  /// What a rank does.
  package typealias Body = (any Wire) throws -> Void

  let ranks: Int
  var random: SplitMix
  let network = LoopbackNetwork()
  /// What ranks put together in calls that all of them make.
  var gathered: [String: [Int: Any]] = [:]
  private(set) var failure: (any Error)?

  private let turns: [DispatchSemaphore]
  private let end = DispatchSemaphore(value: 0)
  private var alive: [Int]
  private var idleLooks = 0
  /// What each rank waits for.
  private var waits: [Int: String] = [:]

  private init(ranks: Int, seed: UInt64) {
    self.ranks = ranks
    random = SplitMix(seed: seed)
    turns = (0..<ranks).map { _ in DispatchSemaphore(value: 0) }
    alive = Array(0..<ranks)
  }

  /// Runs a job to its end.
  ///
  /// - Throws: the first error of a rank, and ``LoopbackFault`` where the ranks wait for each
  ///   other, or memory is touched that a message has.
  package static func run(ranks: Int, seed: UInt64, _ body: @escaping Body) throws {
    let job = LoopbackJob(ranks: ranks, seed: seed)
    for rank in 0..<ranks {
      startThread {
        job.turns[rank].wait()
        do {
          try body(LoopbackWire(job, rank: rank))
        } catch { job.fail(error) }
        job.leave(rank)
      }
    }
    job.turns[Int(job.random.next() % UInt64(ranks))].signal()
    for _ in 0..<ranks { job.end.wait() }
    if let failure = job.failure { throw failure }
    if let left = job.network.left { throw LoopbackFault("a message is left over: \(left)") }
  }

  // MARK: Taking turns

  /// Lets the network move, and perhaps another rank run.
  func step(_ rank: Int, isWait: String? = nil) {
    waits[rank] = isWait
    do {
      if try network.move(&random) { noteMovement() }
    } catch { fail(error) }
    if isWait != nil {
      idleLooks += 1
      if idleLooks > 500 + 300 * ranks {
        fail(LoopbackFault("nothing moves any more; ranks wait for \(waits)"))
      }
    }
    let next = alive[Int(random.next() % UInt64(alive.count))]
    if next == rank { return }
    turns[next].signal()
    turns[rank].wait()
  }

  /// Now and then lets another rank run.
  func mayStep(_ rank: Int) {
    if random.next() % 4 == 0 { step(rank) }
  }

  /// Something has changed that a rank may be waiting for.
  func noteMovement() { idleLooks = 0 }

  /// Ends the job, at each rank's next wait.
  func fail(_ error: any Error) { failure = failure ?? error }

  private func leave(_ rank: Int) {
    noteMovement()
    alive.removeAll { $0 == rank }
    if !alive.isEmpty { turns[alive[Int(random.next() % UInt64(alive.count))]].signal() }
    end.signal()
  }

  private static func startThread(_ body: @escaping () -> Void) {
    final class Start {
      let body: () -> Void
      init(_ body: @escaping () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { start in
        guard let start = unsafe start else { return nil }
        unsafe Unmanaged<Start>.fromOpaque(start).takeRetainedValue().body()
        return nil
      }, Unmanaged.passRetained(Start(body)).toOpaque())
    precondition(code == 0, "no thread for a rank")
    pthread_detach(thread)
  }
}

/// A mistake in what ran on the wire.
package struct LoopbackFault: Error, CustomStringConvertible {
  package let description: String

  init(_ description: String) { self.description = description }
}

/// Random numbers of a seed: Steele, Lea, Flood 2014, Fast Splittable Pseudorandom Number
/// Generators.
package struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var bits = state
    bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
    return bits ^ (bits >> 31)
  }
}
