import Glibc
import MPI

/// Communicators made from another number their ranks as asked, and keep their messages apart.
func groups(_ check: Check, _ world: borrowing Communicator) throws {
  guard let half = try world.split(color: check.rank % 2, key: -check.rank) else {
    throw CheckFailure(rank: check.rank, check: "a color gives a communicator")
  }
  let members = (0..<check.size).filter { $0 % 2 == check.rank % 2 }
  try check.expect(half.size, equals: members.count, "the size of a half")
  try check.expect(
    half.rank, equals: members.count - 1 - check.rank / 2, "a descending key reverses the ranks")
  try check.expect(
    try half.allGather(check.rank), equals: members.reversed(), "the members of a half")

  let low = try world.split(color: check.rank == 0 ? 0 : nil)
  switch consume low {
  case .some(let group):
    try check.expect(group.size == 1 && check.rank == 0, "only rank 0 has a color")
  case .none: try check.expect(check.rank != 0, "no color, no communicator")
  }

  let node = try world.splitByNode()
  try check.expect(node.size, equals: check.size, "one machine, one node")
  try check.expect(node.rank, equals: check.rank, "equal keys keep the order")

  // The same ranks and tag in two communicators: each receive gets its own message.
  let twin = try world.duplicate()
  try check.expect(twin.traffic, equals: .zero, "a new communicator has no traffic")
  try world.send([1].span, to: check.next, tag: 4)
  try twin.send([2].span, to: check.next, tag: 4)
  var (first, second) = ([0], [0])
  var secondSpan = second.mutableSpan
  try twin.receive(into: &secondSpan, from: check.previous, tag: 4)
  var firstSpan = first.mutableSpan
  try world.receive(into: &firstSpan, from: check.previous, tag: 4)
  try check.expect(first + second, equals: [1, 2], "messages of two communicators")
  let one = Traffic(bytesSent: 8, messagesSent: 1, bytesReceived: 8, messagesReceived: 1)
  try check.expect(twin.traffic, equals: one, "traffic of the duplicate")
  try check.expect(world.traffic, equals: one, "traffic of the world")

  // MPI has 65 536 communicators: the end of each makes room. On one rank, where each is quickly
  // made.
  if check.size == 1 { for _ in 0..<66_000 { _ = try world.duplicate() } }
}

/// Says where each rank is and which ranks share its memory; the test knows where they should be.
func nodes(_ check: Check, _ world: borrowing Communicator) throws {
  let members = try world.splitByNode().allGather(check.rank)
  print("\(check.rank) on \(MPIEnvironment.processorName) with \(members)")
}

private struct Refusal: Error, CustomStringConvertible {
  let rank: Int
  var description: String { "rank \(rank) refuses – with ⌘ in its words" }
}

/// A failure of some ranks is known to all, in the words of the lowest.
func agreement(_ check: Check, _ world: borrowing Communicator) throws {
  try check.expect(try world.agree { 7 * check.rank }, equals: 7 * check.rank, "all succeed")

  for failing in [
    [0], [check.size - 1], Array(stride(from: check.size / 2, to: check.size, by: 2)),
  ] {
    do {
      try world.agree { if failing.contains(check.rank) { throw Refusal(rank: check.rank) } }
      throw CheckFailure(rank: check.rank, check: "no error after \(failing) failed")
    } catch let error as Refusal {
      try check.expect(failing.contains(error.rank), "only who failed has the own error")
      try check.expect(error.rank, equals: check.rank, "the own error")
    } catch let error as PeerFailure {
      try check.expect(!failing.contains(check.rank), "who failed has the own error")
      try check.expect(
        error, equals: PeerFailure(rank: failing[0], message: "\(Refusal(rank: failing[0]))"),
        "the lowest failure")
    }
  }

  try check.expect(try world.lowestDifferingRank("the same"), equals: nil, "equal texts")
  try check.expect(try world.lowestDifferingRank([UInt8]()), equals: nil, "empty bytes")
  if check.size > 1 {
    let odd = check.size / 2
    let lowest = try world.lowestDifferingRank(check.rank >= odd && odd > 0 ? "b" : "a")
    try check.expect(lowest, equals: odd, "another text of the same length")
    let shorter = try world.lowestDifferingRank(check.rank == check.size - 1 ? "" : "a")
    try check.expect(shorter, equals: check.size - 1, "a shorter text")
    let first = try world.lowestDifferingRank(check.rank == 0 ? "long" : "")
    try check.expect(first, equals: 1, "rank 0 is the measure")
  }
}

/// What is known of the launch agrees with the launch.
func environment(_ check: Check, _ world: borrowing Communicator) throws {
  try check.expect(MPIEnvironment.libraryVersion.contains("Open MPI"), "the library's name")
  try check.expect(
    MPIEnvironment.standardVersion.major >= 3, "the version \(MPIEnvironment.standardVersion)")
  try check.expect(!MPIEnvironment.processorName.isEmpty, "the processor's name")
  try check.expect(MPIEnvironment.isRunning, "MPI is running inside withMPI")
  try check.expect(
    MPIEnvironment.isLaunchedByMPI, equals: unsafe getenv("PMIX_RANK") != nil, "launched by MPI")
  try check.expectError(.alreadyInitialized, "MPI in MPI") { try withMPI { _ in } }
  try check.expect(
    Communicator.messageCount(forBytes: 8_000, chunkBytes: 1_000), equals: 9, "messages")
}
