import Glibc
import MPI

// Each of these ends its job in an error; the tests assert how, and how soon.

/// The highest rank misbehaves, the others wait for a message from it that never comes.
private func misbehave(
  _ check: Check, _ world: borrowing Communicator, _ misdeed: () throws -> Void
) throws {
  if check.rank == check.size - 1 { return try misdeed() }
  var value = [0]
  var span = value.mutableSpan
  try world.receive(into: &span, from: check.size - 1, tag: 0)
}

/// An expectation that is false on the highest rank: the checks can fail at all.
func fails(_ check: Check, _ world: borrowing Communicator) throws {
  try check.expect(check.rank < check.size - 1, "this check fails on purpose")
}

/// All ranks throw: MPI is finalized before any of them exits.
func failsTogether(_ check: Check, _ world: borrowing Communicator) throws {
  throw CheckFailure(rank: check.rank, check: "all ranks fail on purpose")
}

func throwsAlone(_ check: Check, _ world: borrowing Communicator) throws {
  try misbehave(check, world) {
    throw CheckFailure(rank: check.rank, check: "one rank fails on purpose")
  }
}

func exitsAlone(_ check: Check, _ world: borrowing Communicator) throws {
  try misbehave(check, world) { exit(3) }
}

func killedAlone(_ check: Check, _ world: borrowing Communicator) throws {
  try misbehave(check, world) { kill(getpid(), SIGKILL) }
}

func aborts(_ check: Check, _ world: borrowing Communicator) throws {
  let group = try world.duplicate()
  try misbehave(check, world) { group.abort(code: 42) }
}

/// Nobody sends, and the highest rank is stopped: only the test's own time limit ends this.
func hangs(_ check: Check, _ world: borrowing Communicator) throws {
  if check.rank == check.size - 1 { kill(getpid(), SIGSTOP) }
  var value = [0]
  var span = value.mutableSpan
  try world.receive(into: &span, from: check.previous, tag: 0)
}

func dropsReceive(_ check: Check, _ world: borrowing Communicator) throws {
  try misbehave(check, world) {
    _ = world.receive(
      into: MessageBuffer<UInt8>(repeating: 0, count: 100), from: 0, tag: 9)
  }
}

func dropsSend(_ check: Check, _ world: borrowing Communicator) throws {
  try misbehave(check, world) {
    _ = try world.send(MessageBuffer<UInt8>(repeating: 0, count: 1 << 20), to: 0, tag: 9)
  }
}

/// The error that made a rank drop its transfer is told together with the drop.
func dropsAfterError(_ check: Check, _ world: borrowing Communicator) throws {
  try misbehave(check, world) {
    let sending = try world.send(
      MessageBuffer<UInt8>(repeating: 0, count: 1 << 20), to: 0, tag: 9)
    let receiving = world.receive(
      into: MessageBuffer<UInt8>(repeating: 0, count: 77), from: 0, tag: 9)
    _ = try receiving.wait(deadline: .now + .milliseconds(20))
    _ = try sending.wait()
  }
}

/// A message that nobody receives is a mistake that the end of the program finds.
func unreceived(_ check: Check, _ world: borrowing Communicator) throws {
  guard check.rank == check.size - 1 else { return }
  try world.send([UInt8](repeating: 0, count: 1 << 20).span, to: 0, tag: 9)
}

/// Ranks 0 and 1 each expect less than the other sends: what is left of both messages stays in
/// flight.
func stuckExchange(_ check: Check, _ world: borrowing Communicator) throws {
  let peers = (0..<check.size).map { $0 < 2 && check.rank < 2 && $0 != check.rank }
  let outgoing = [UInt8](repeating: 1, count: check.rank < 2 ? 9 << 20 : 0)
  var incoming = [UInt8](repeating: 0, count: check.rank < 2 ? 5 << 20 : 0)
  var span = incoming.mutableSpan
  try world.allToAll(
    outgoing.span, counts: peers.map { $0 ? outgoing.count : 0 }, into: &span,
    counts: peers.map { $0 ? 5 << 20 : 0 })
}

/// The highest rank throws while windows exist and the others wait in a counter or to free them.
func throwsWithWindows(_ check: Check, _ world: borrowing Communicator) throws {
  let node = try world.splitByNode()
  let window = try SharedWindow(byteCount: 100_000, on: node)
  let counters = try SharedCounters(count: 1, on: node)
  if check.rank == check.size - 1 {
    throw CheckFailure(rank: check.rank, check: "one rank fails on purpose")
  }
  if check.rank == 0 { try counters.wait(0, atLeast: 1) }
  try window.free()
  try counters.free()
}

/// All ranks throw while windows exist: MPI is finalized all the same.
func throwsTogetherWithWindows(_ check: Check, _ world: borrowing Communicator) throws {
  let node = try world.splitByNode()
  let window = try SharedWindow(byteCount: 100_000, on: node)
  if unsafe window.unsafeBytes(of: 0).count > 0 { try failsTogether(check, world) }
  try window.free()
}
