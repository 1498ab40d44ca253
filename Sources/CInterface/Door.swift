import Glibc
import Attention
import Hosts
import Jobs
import MPI
import Reporting
import SequenceParallel
import Synchronization

/// What this process has joined, between `gyre_init` and `gyre_finalize`.
final class Door {
  let joined: JoinedWorld
  let team: ThreadTeam
  /// What passes are computed on, the latest last.
  var connections: [(request: AttentionRequest, connection: any Connection)] = []

  /// How often ranks were connected so far.
  private(set) var connectionCount = 0
  private let topology: Topology

  /// What operators send on; nil until there is one.
  var mixerWire: MixerWire?
  /// Operators for which there was room.
  var roomForMixing: Set<String> = []

  /// Attention that stays connected: models with several kinds of layers have that many.
  private static let mostConnections = 4

  /// Called by all ranks together.
  init(joined: JoinedWorld, team: ThreadTeam) throws {
    (self.joined, self.team) = (joined, team)
    topology = try Topology(of: joined.communicator)
  }

  /// What computes a request, connected now if it is not yet, called by all ranks together.
  func connection(for request: AttentionRequest) throws -> any Connection {
    let request = request.kind(on: topology)
    if let index = connections.firstIndex(where: { $0.request == request }) {
      let found = connections.remove(at: index)
      connections.append(found)
      return found.connection
    }
    // Before there is more, so that no more than so many are there at once.
    while connections.count >= Self.mostConnections {
      try connections.removeFirst().connection.close()
    }
    connectionCount += 1
    let connection = try connect(
      request, team: team, topology: topology, on: joined.communicator)
    connections.append((request, connection))
    return connection
  }

  /// Gives back what is kept from pass to pass, called by all ranks together.
  func release() throws {
    while let last = connections.popLast() { try last.connection.close() }
  }
}

/// The state of the library in this process: one call at a time.
@safe
enum Library {
  private static let turn = Mutex<Void>(())
  // Touched by whoever has its turn.
  nonisolated(unsafe) private(set) static var door: Door?
  nonisolated(unsafe) private static var sentence = unsafe emptySentence()
  nonisolated(unsafe) private(set) static var isShared = false

  private static func emptySentence() -> UnsafeMutablePointer<CChar> {
    let text = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
    unsafe text.initialize(to: 0)
    return unsafe text
  }

  /// Runs what a function of the header does, and turns what it throws into its status.
  static func call(_ body: () throws -> Void) -> Int32 {
    turn.withLock { _ in
      do {
        try body()
        return 0
      } catch {
        remember(error)
        return 1
      }
    }
  }

  /// The same with what has been joined.
  static func callInJob(_ body: (Door) throws -> Void) -> Int32 {
    call {
      guard let door = unsafe door else {
        throw UserError("the job is not joined yet, or left already; call gyre.init() first.")
      }
      try body(door)
    }
  }

  /// What has been joined, without waiting for a turn.
  static func look(_ body: (Door) -> Int, otherwise: Int32) -> Int32 {
    turn.withLock { _ in unsafe door.map { Int32(body($0)) } ?? otherwise }
  }

  static func open(_ door: Door?) { unsafe self.door = door }

  private static func remember(_ error: any Error) {
    let text =
      switch error {
      case let shared as SharedFailure: shared.description
      case let agreed as AgreedFailure: agreed.message ?? "another rank has failed."
      default: "\(error)"
      }
    unsafe isShared = error is SharedFailure
    unsafe sentence.deallocate()
    unsafe sentence = text.withCString { bytes in
      let count = unsafe strlen(bytes) + 1
      let copy = UnsafeMutablePointer<CChar>.allocate(capacity: count)
      unsafe copy.initialize(from: bytes, count: count)
      return unsafe copy
    }
  }

  /// The last error, for `gyre_error`.
  @unsafe static var error: UnsafePointer<CChar> { unsafe UnsafePointer(sentence) }
}
