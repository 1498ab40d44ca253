import MPI

/// Each rank waits for the one before it, thousands of times; what was written before is visible.
func counters(_ check: Check, _ world: borrowing Communicator) throws {
  let node = try world.splitByNode()
  let rounds = 3_000
  let counters = try SharedCounters(count: node.size + 1, on: node)
  try check.expect(
    (0...node.size).map { counters.value($0) }, equals: .init(repeating: 0, count: node.size + 1),
    "all counters are 0 at first")
  try node.barrier()
  let window = try SharedWindow(byteCount: node.rank == 0 ? 8 : 0, on: node)
  let cell = unsafe window.unsafeBytes(of: 0)
  if node.rank == 0 { unsafe cell.storeBytes(of: 0, as: Int.self) }
  try node.barrier()

  let start = ContinuousClock.now
  for round in 0..<rounds {
    // Rank 0 waits for the last rank of the round before.
    if node.rank > 0 { try counters.wait(node.rank - 1, atLeast: round + 1) }
    if node.rank == 0 { try counters.wait(node.size - 1, atLeast: round) }
    // Plain reads and writes, ordered by the counters alone.
    let value = unsafe cell.load(as: Int.self)
    try check.expect(value, equals: round * node.size + node.rank, "the baton of round \(round)")
    unsafe cell.storeBytes(of: value + 1, as: Int.self)
    counters.advance(node.rank)
    counters.advance(node.size, by: 2)
  }
  try counters.wait(node.size, atLeast: 2 * rounds * node.size)
  try check.expect(
    counters.value(node.size), equals: 2 * rounds * node.size, "what all ranks have added")
  let handovers = (ContinuousClock.now - start) / (rounds * node.size)
  try check.expect(
    handovers < .milliseconds(1), "a handover is quick where ranks outnumber cores: \(handovers)")
  try counters.free()
  try window.free()
}

/// A wait looks after messages, calls `poll`, throws what that throws, and ends at its deadline.
func counterWaits(_ check: Check, _ world: borrowing Communicator) throws {
  let node = try world.splitByNode()
  let counters = try SharedCounters(count: 2, on: node)
  try check.expectError(.timedOut, "a counter that stays") {
    try counters.wait(0, atLeast: 1, deadline: .now + .milliseconds(20))
  }
  var polls = 0
  try check.expectError(.short, "an error of poll") {
    try counters.wait(0, atLeast: 1) { () throws(MPIError) in
      polls += 1
      if polls == 5_000 { try shortReceive(world) }
    }
  }
  try check.expect(polls, equals: 5_000, "polls")

  // Rank 0 waits, and only that wait moves its messages on: the others advance once they are
  // through.
  if node.rank == 0 {
    for peer in 1..<node.size { try node.send(large(peer).span, to: peer, tag: 1) }
    let receiving = node.receive(
      into: MessageBuffer<UInt8>(repeating: 0, count: largeBytes), from: node.size - 1, tag: 2)
    if node.size == 1 { try node.send(large(0).span, to: 0, tag: 2) }
    try counters.wait(1, atLeast: node.size - 1, deadline: .now + .seconds(20))
    _ = try receiving.wait()
  } else {
    var inbox = [UInt8](repeating: 0, count: largeBytes)
    var span = inbox.mutableSpan
    try node.receive(into: &span, from: 0, tag: 1)
    try check.expect(inbox == large(node.rank), "the message")
    if node.rank == node.size - 1 {
      let block = MessageBuffer<UInt8>(repeating: 1, count: largeBytes)
      _ = try node.send(block, to: 0, tag: 2).wait()
    }
    counters.advance(1)
  }
  try counters.free()
}

private let largeBytes = 3 << 20

private func large(_ rank: Int) -> [UInt8] { .init(repeating: UInt8(rank), count: largeBytes) }

/// Receives a byte of two that this rank sends itself, which is an error of its own class.
private func shortReceive(_ world: borrowing Communicator) throws(MPIError) {
  try world.send([UInt8(1)].span, to: world.rank, tag: 5)
  var bytes = [UInt8](repeating: 0, count: 2)
  var span = bytes.mutableSpan
  try world.receive(into: &span, from: world.rank, tag: 5)
}
