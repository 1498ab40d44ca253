package import MPI

/// The wire between processes that mpirun has started.
package final class MPIWire: Wire {
  /// What the messages travel on, for the collectives of those who share it with a stream.
  package let communicator: Communicator

  /// Takes a communicator.
  package init(_ communicator: consuming Communicator) { self.communicator = communicator }

  /// A wire of its own between the same ranks, made by all of them together.
  package convenience init(duplicating world: borrowing Communicator) throws(MPIError) {
    self.init(try world.duplicate())
  }

  package var rank: Int { communicator.rank }
  package var size: Int { communicator.size }
  package var traffic: Traffic { communicator.traffic }

  /// For the reasons that ``TransferPoller`` has.
  package let lookInterval = TransferPoller.usualInterval

  package func send(_ piece: Piece, to rank: Int, tag: Int) throws(MPIError) -> any Shipment {
    Sent(try communicator.send(piece, to: rank, tag: tag))
  }

  package func receive(into piece: Piece, from rank: Int, tag: Int) -> any Shipment {
    Received(communicator.receive(into: piece, from: rank, tag: tag))
  }

  package func wait(
    for what: @autoclosure () -> String, until isOver: () throws(MPIError) -> Bool
  ) throws(MPIError) {
    try communicator.wait(for: what(), until: isOver)
  }

  package func split(group: Int, member: Int) throws(MPIError) -> any Wire {
    guard let part = try communicator.split(color: group, key: member) else {
      preconditionFailure("every rank is in a group")
    }
    return MPIWire(part)
  }

  package func share(byteCount: Int) throws(MPIError) -> any SharedParts {
    WindowParts(try SharedWindow(byteCount: byteCount, on: communicator))
  }

  package func counters(_ count: Int) throws(MPIError) -> any WireCounters {
    Counters(try SharedCounters(count: count, on: communicator))
  }

  // MARK: What is on its way, and what is shared

  private final class Sent: Shipment {
    private var pending: PendingSend<Piece>?

    init(_ pending: consuming PendingSend<Piece>) { self.pending = consume pending }

    func isFinished() throws(MPIError) -> Bool {
      switch pending {
      case .none: return true
      case .some(let pending): if try !pending.test() { return false }
      }
      if let pending = pending.take() { _ = try pending.wait() }
      return true
    }
  }

  private final class Received: Shipment {
    private var pending: PendingReceive<Piece>?

    init(_ pending: consuming PendingReceive<Piece>) { self.pending = consume pending }

    func isFinished() throws(MPIError) -> Bool {
      switch pending {
      case .none: return true
      case .some(let pending): if try !pending.test() { return false }
      }
      if let pending = pending.take() { _ = try pending.wait() }
      return true
    }
  }

  private final class Counters: WireCounters {
    private var counters: SharedCounters?

    init(_ counters: consuming SharedCounters) { self.counters = consume counters }

    func value(_ index: Int) -> Int {
      switch counters {
      case .some(let counters): counters.value(index)
      case .none: preconditionFailure("counters that were given back")
      }
    }

    func advance(_ index: Int) {
      switch counters {
      case .some(let counters): counters.advance(index)
      case .none: preconditionFailure("counters that were given back")
      }
    }

    func free() throws(MPIError) {
      if let counters = counters.take() { try counters.free() }
    }
  }
}
