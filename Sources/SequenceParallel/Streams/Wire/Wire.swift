package import MPI

/// What a stream needs of the ranks round it: messages between two of them, memory and counters
/// that a group shares, and a way to wait.
///
/// Streams know nothing else of MPI, so that they can be run in one process, with every rank a
/// thread of it, as tests do.
package protocol Wire: AnyObject {
  /// This rank's number, from 0 to `size` − 1.
  var rank: Int { get }

  /// The number of ranks.
  var size: Int { get }

  /// The messages of this rank so far.
  var traffic: Traffic { get }

  /// How long a rank that computes goes on before it looks after its transfers.
  var lookInterval: Duration { get }

  /// Starts to send some memory, which must not be written until that has ended.
  ///
  /// Messages of one tag from one rank to another arrive in the order in which they were sent.
  func send(_ piece: Piece, to rank: Int, tag: Int) throws(MPIError) -> any Shipment

  /// Gives room for a message of just as many bytes, which must not be touched until it has come.
  func receive(into piece: Piece, from rank: Int, tag: Int) -> any Shipment

  /// Waits; the only place of a stream that does.
  ///
  /// - Parameters:
  ///   - what: completes the sentence "timed out waiting for …".
  ///   - isOver: moves on what can be moved on, and answers whether the wait is over.
  func wait(
    for what: @autoclosure () -> String, until isOver: () throws(MPIError) -> Bool
  ) throws(MPIError)

  /// The ranks that give the same group, in the order of their members' numbers; called by all.
  func split(group: Int, member: Int) throws(MPIError) -> any Wire

  /// Memory that all ranks read and write in place; called by all.
  ///
  /// - Parameter byteCount: the bytes of this rank's part.
  func share(byteCount: Int) throws(MPIError) -> any SharedParts

  /// Counters that all ranks see, 0 at first; called by all.
  func counters(_ count: Int) throws(MPIError) -> any WireCounters
}

/// A message on its way.
package protocol Shipment: AnyObject {
  /// Moves it on, and answers whether it has been sent or has come.
  func isFinished() throws(MPIError) -> Bool
}

/// Counters that ranks share: whoever sees a count sees all that was written before it grew.
package protocol WireCounters: AnyObject {
  /// What a counter is now.
  func value(_ index: Int) -> Int

  /// Adds 1 to a counter.
  func advance(_ index: Int)

  /// Gives the counters back, called by all.
  func free() throws(MPIError)
}
