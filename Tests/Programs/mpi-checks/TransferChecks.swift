import MPI

/// What element `index` of the block of `owner` holds.
private func pattern(_ owner: Int, _ index: Int) -> Float { Float(owner * 131 + index % 1009) }

private let sentinel: Float = -1e30

/// Blocks of any size go once round, are read while they travel, and come home unchanged.
func ring(_ check: Check, _ world: borrowing Communicator) throws {
  let sizes: [(String, (Int) -> Int)] = [
    ("equal", { _ in 100_000 }),
    ("uneven", { 70_000 * ($0 % 3) + 13 * $0 }),
    ("first empty", { $0 == 0 ? 0 : 20_000 }),
    ("all empty", { _ in 0 }),
    ("one element", { _ in 1 }),
  ]
  for (name, elements) in sizes {
    // 8000 bytes divide the 400 000 of the equal blocks, 65 536 do not.
    for chunkBytes in [8_000, 65_536, Communicator.defaultChunkBytes] {
      let what = "ring, \(name), chunks of \(chunkBytes)"
      try rotate(check, world, what, elements: elements, chunkBytes: chunkBytes)
    }
  }
}

private func rotate(
  _ check: Check, _ world: borrowing Communicator, _ what: String, elements: (Int) -> Int,
  chunkBytes: Int
) throws {
  let capacity = (0..<check.size).map(elements).reduce(0, max) + 64
  var block = MessageBuffer<Float>(repeating: sentinel, count: capacity)
  var inbox = MessageBuffer<Float>(repeating: 0, count: capacity)
  fill(&block, owner: check.rank, count: elements(check.rank))
  let before = world.traffic
  var expected = Traffic.zero

  for step in 0..<check.size {
    let held = (check.rank + check.size - step) % check.size
    let coming = (held + check.size - 1) % check.size
    let (heldBytes, comingBytes) = (4 * elements(held), 4 * elements(coming))
    fill(&inbox, owner: 0, count: 0)
    let receiving = world.receive(
      into: inbox, from: check.previous, tag: 3, byteCount: comingBytes, chunkBytes: chunkBytes)
    let sending = try world.send(
      block, to: check.next, tag: 3, byteCount: heldBytes, chunkBytes: chunkBytes)

    // Work on the block in hand, polling between pieces.
    let isRight = try isIntact(sending.buffer, owner: held, count: elements(held)) {
      _ = try receiving.test()
      _ = try sending.test()
    }
    inbox = try sending.wait()
    block = try receiving.wait()
    try check.expect(isRight, "\(what): the block in hand at step \(step)")
    expected += Traffic(
      bytesSent: heldBytes, messagesSent: heldBytes == 0 ? 0 : heldBytes / chunkBytes + 1,
      bytesReceived: comingBytes,
      messagesReceived: comingBytes == 0 ? 0 : comingBytes / chunkBytes + 1)
  }
  let isHome = try isIntact(block, owner: check.rank, count: elements(check.rank)) {}
  try check.expect(isHome, "\(what): the own block after one round")
  try check.expect(world.traffic - before, equals: expected, "\(what): traffic")
}

private func fill(_ block: inout MessageBuffer<Float>, owner: Int, count: Int) {
  var span = block.mutableSpan
  for index in 0..<count { span[index] = pattern(owner, index) }
  for index in count..<span.count { span[index] = sentinel }
}

/// Whether the block is the owner's and nothing is written past its end.
private func isIntact(
  _ block: borrowing MessageBuffer<Float>, owner: Int, count: Int, poll: () throws -> Void
) throws -> Bool {
  let span = block.span
  var isRight = true
  for index in span.indices {
    isRight = isRight && span[index] == (index < count ? pattern(owner, index) : sentinel)
    if index % 8_192 == 0 { try poll() }
  }
  return isRight
}

/// A rank can send to itself, large messages too, and finds out by polling alone.
func selfSend(_ check: Check, _ world: borrowing Communicator) throws {
  let inbox = MessageBuffer<Int32>(repeating: 0, count: 300_000)
  let block = MessageBuffer<Int32>(repeating: Int32(check.rank + 1), count: 300_000)
  let receiving = world.receive(into: inbox, from: check.rank, tag: 0, chunkBytes: 100_000)
  let sending = try world.send(
    block, to: check.rank, tag: world.largestTag, byteCount: 0, chunkBytes: 100_000)
  try check.expect(try sending.test(), "no bytes are no message")
  let sendingAll = try world.send(
    try sending.wait(), to: check.rank, tag: 0, chunkBytes: 100_000)
  while true {
    // Both are asked in each round: neither can finish without the other.
    let (hasCome, hasGone) = (try receiving.test(), try sendingAll.test())
    if hasCome && hasGone { break }
  }
  let result = try receiving.wait()
  _ = try sendingAll.wait()
  let span = result.span
  try check.expect(
    span.indices.allSatisfy { span[$0] == Int32(check.rank + 1) }, "self-send: every element")
  try check.expect(
    world.traffic,
    equals: Traffic(
      bytesSent: 1_200_000, messagesSent: 13, bytesReceived: 1_200_000, messagesReceived: 13),
    "self-send: traffic")
}

/// All ranks send first and receive afterwards, above every eager limit, and nothing deadlocks.
func messages(_ check: Check, _ world: borrowing Communicator) throws {
  for count in [0, 1, 1_000, 500_000] {
    let block = [Int](repeating: check.rank, count: count)
    try world.send(block.span, to: check.next, tag: 1, chunkBytes: 64_000)
    try world.send(block.span, to: check.rank, tag: 1)
    // With one rank both messages have the same source: they come in the order of the sends.
    for (source, chunkBytes) in [
      (check.previous, 64_000), (check.rank, Communicator.defaultChunkBytes),
    ] {
      var inbox = [Int](repeating: -1, count: count)
      var span = inbox.mutableSpan
      try world.receive(into: &span, from: source, tag: 1, chunkBytes: chunkBytes)
      try check.expect(
        inbox, equals: [Int](repeating: source, count: count), "\(count) from rank \(source)")
    }
  }
  let halves: [Float16] = [1.5, -0.25, 65_504]
  try world.send(halves.span, to: check.next, tag: 2)
  var received = [Float16](repeating: 0, count: 3)
  var span = received.mutableSpan
  try world.receive(into: &span, from: check.previous, tag: 2)
  try check.expect(received, equals: halves, "Float16 travels as bytes")
}

/// A receive of another size than its message is an error, whatever the chunks, and not one byte is
/// written past its end.
func sizeMismatch(_ check: Check, _ world: borrowing Communicator) throws {
  let mismatches: [Mismatch] = [
    Mismatch(sent: 100, expected: 80, chunkBytes: 1_000),
    Mismatch(sent: 80, expected: 100, chunkBytes: 1_000),
    Mismatch(sent: 1_000, expected: 900, chunkBytes: 1_000),
    Mismatch(sent: 900, expected: 1_000, chunkBytes: 1_000),
    // Several full chunks and nothing else: only the empty last chunk tells these apart.
    Mismatch(sent: 300, expected: 200, chunkBytes: 100),
    Mismatch(sent: 200, expected: 300, chunkBytes: 100),
    Mismatch(sent: 350, expected: 250, chunkBytes: 100),
    Mismatch(sent: 250, expected: 350, chunkBytes: 100),
    Mismatch(sent: 200, expected: 100, chunkBytes: 100),
    Mismatch(sent: 100, expected: 200, chunkBytes: 100),
    // Above the eager limits MPI itself would write all that was sent.
    Mismatch(sent: 3_000, expected: 2_000, chunkBytes: 4 << 20),
    Mismatch(sent: 1 << 20, expected: 1 << 19, chunkBytes: 4 << 20),
    Mismatch(sent: 1 << 19, expected: 1 << 20, chunkBytes: 4 << 20),
  ]
  for (index, mismatch) in mismatches.enumerated() {
    // Whatever is left of a message must not meet the next receive.
    let group = try world.duplicate()
    try meet(mismatch, check, group, tag: index, receiveFirst: true)
    try meet(mismatch, check, group, tag: 100 + index, receiveFirst: false)
    try world.barrier()
  }
}

private struct Mismatch {
  let sent: Int
  let expected: Int
  let chunkBytes: Int
  var errorClass: MPIError.ErrorClass { sent > expected ? .truncate : .short }
}

private func meet(
  _ mismatch: Mismatch, _ check: Check, _ group: borrowing Communicator, tag: Int,
  receiveFirst: Bool
) throws {
  let what = "\(mismatch), receive first: \(receiveFirst)"
  let outgoing = [UInt8](repeating: 7, count: mismatch.sent)
  if receiveFirst {
    let receiving = group.receive(
      into: MessageBuffer<UInt8>(repeating: 9, count: mismatch.expected), from: check.previous,
      tag: tag, chunkBytes: mismatch.chunkBytes)
    try group.send(outgoing.span, to: check.next, tag: tag, chunkBytes: mismatch.chunkBytes)
    try check.expectError(mismatch.errorClass, what, of: receiving)
    return
  }
  try group.send(outgoing.span, to: check.next, tag: tag, chunkBytes: mismatch.chunkBytes)
  let memory = UnsafeMutableBufferPointer<UInt8>.allocate(
    capacity: mismatch.sent + mismatch.expected)
  defer { unsafe memory.deallocate() }
  unsafe memory.initialize(repeating: 9)
  var inbox = unsafe MutableSpan(
    _unsafeElements: UnsafeMutableBufferPointer(rebasing: memory[..<mismatch.expected]))
  try check.expectError(mismatch.errorClass, what) {
    try group.receive(
      into: &inbox, from: check.previous, tag: tag, chunkBytes: mismatch.chunkBytes,
      deadline: .now + .seconds(20))
  }
  let isUntouched = unsafe memory[mismatch.expected...].allSatisfy { $0 == 9 }
  try check.expect(isUntouched, "\(what): bytes past the end")
}

/// Waits that can never end do so at their deadline, and later messages find later receives.
func deadline(_ check: Check, _ world: borrowing Communicator) throws {
  let clock = ContinuousClock()
  let start = clock.now
  for bytes in [16, 1 << 20] {
    let receiving = world.receive(
      into: MessageBuffer<UInt8>(repeating: 0, count: bytes), from: check.previous, tag: 5)
    let error = try check.expectError(
      .timedOut, "a receive that nobody sends to", of: receiving, within: .milliseconds(50))
    try check.expect(
      error.text.contains("\(bytes) bytes from rank \(check.previous), tag 5"), error.text)
  }
  try check.expectError(.timedOut, "a span that nobody sends to") {
    var value = [0]
    var span = value.mutableSpan
    try world.receive(
      into: &span, from: check.previous, tag: 5, deadline: .now + .milliseconds(50))
  }
  let seconds = (clock.now - start) / .seconds(1)
  try check.expect(seconds >= 0.15 && seconds < 10, "three deadlines took \(seconds) s")
  try world.barrier()

  // The receives that were given up are gone: this message meets the new one.
  try world.send([check.rank].span, to: check.next, tag: 5)
  var value = [-1]
  var span = value.mutableSpan
  try world.receive(into: &span, from: check.previous, tag: 5, deadline: .now + .seconds(20))
  try check.expect(value, equals: [check.previous], "the message after a deadline")

  let group = try world.duplicate()
  if check.size > 1 {
    if check.rank == 0 {
      try check.expectError(.timedOut, "a barrier that rank 1 never enters") {
        try group.barrier(deadline: .now + .milliseconds(50))
      }
    }
    let sending = try group.send(
      MessageBuffer<UInt8>(repeating: 1, count: 8 << 20), to: check.next, tag: 6)
    do {
      _ = try sending.wait(deadline: .now + .milliseconds(50))
      throw CheckFailure(rank: check.rank, check: "a large send that nobody receives: no error")
    } catch let error as MPIError {
      try check.expect(error.errorClass, equals: .timedOut, "a large send that nobody receives")
    }
  }
}
