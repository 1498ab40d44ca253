import Glibc
import Jobs
import MPI

/// Some ranks of a job that measure while the others sleep.
///
/// A rank that waits inside MPI polls, which costs a core. Those that take no part wait for the
/// figures of those that do, and look for them 500 times a second: that is some thousandth of a
/// core.
final class RankGroup {
  /// Ranks of the world, the first of which tells the others.
  let members: [Int]
  private let communicator: Communicator?

  private static let tag = 0
  private static let napNanoseconds = 2_000_000

  /// Connects ranks, called by all of the world together.
  init(_ members: [Int], of world: borrowing Communicator) throws {
    let place = members.firstIndex(of: world.rank)
    self.members = members
    communicator = try world.split(color: place.map { _ in 0 }, key: place ?? 0)
  }

  /// Runs on the members alone and waits for nobody.
  ///
  /// - Returns: nil on other ranks.
  func onMembers<Value>(_ body: (borrowing Communicator) throws -> Value) throws -> Value? {
    switch communicator {
    case .some(let communicator): try body(communicator)
    case .none: nil
    }
  }

  /// Runs on the members what fails on all of them or on none, and then fails on all ranks; called
  /// by all ranks of the world together, of which the first is a member.
  ///
  /// - Returns: nil on other ranks.
  func agreedOnMembers<Value>(
    on world: borrowing Communicator, _ body: (borrowing Communicator) throws -> Value
  ) throws -> Value? {
    precondition(members[0] == 0, "rank 0 tells the others")
    var (value, failure): (Value?, AgreedFailure?)
    do {
      value = try onMembers(body)
    } catch let agreed as AgreedFailure {
      failure = agreed
    }
    let code = try world.broadcast(Int(failure?.code ?? 0), from: 0)
    if code == 0 { return value }
    throw AgreedFailure(message: failure?.message, code: Int32(code))
  }

  /// Runs on all members at once, from when all are ready, called by all ranks of the world
  /// together.
  ///
  /// - Returns: the figures of the members, on every rank.
  func measure(
    on world: borrowing Communicator, _ body: (borrowing Communicator) throws -> RankFigures
  ) throws -> [RankFigures] {
    let figures = try onMembers { group in
      try group.barrier()
      return try group.allGather(try body(group))
    }
    guard let figures else { return try sleepUntilTold(on: world) }
    if world.rank == members[0] {
      for rank in 0..<world.size where !members.contains(rank) {
        try world.send(figures.span, to: rank, tag: Self.tag)
      }
    }
    return figures
  }

  private func sleepUntilTold(on world: borrowing Communicator) throws -> [RankFigures] {
    let message = world.receive(
      into: MessageBuffer(repeating: RankFigures(), count: members.count), from: members[0],
      tag: Self.tag)
    while try !message.test() {
      var time = timespec(tv_sec: 0, tv_nsec: Self.napNanoseconds)
      unsafe nanosleep(&time, nil)
    }
    let figures = try message.wait()
    return figures.span.indices.map { figures.span[$0] }
  }
}
