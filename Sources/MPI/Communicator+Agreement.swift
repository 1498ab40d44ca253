/// What the ranks that did not fail are told: another did.
public struct PeerFailure: Error, Sendable, Hashable, CustomStringConvertible {
  /// The lowest rank that failed.
  public let rank: Int

  /// That rank's error in words.
  public let message: String

  /// The failure of rank `rank`, whose error says `message`.
  public init(rank: Int, message: String) {
    self.rank = rank
    self.message = message
  }

  /// The rank and its error in one line.
  public var description: String { "rank \(rank) failed: \(message)" }
}

extension Communicator {
  /// Runs `body` on every rank; where it throws on any, every rank throws.
  ///
  /// For what can fail on one rank alone, as opening a file: without it the others would go on and
  /// wait forever for the rank that has left. `body` itself makes no collective calls.
  ///
  /// - Returns: what `body` returns, if it succeeded on all ranks.
  /// - Throws: its own error on each rank that failed, ``PeerFailure`` on the others, ``MPIError``
  ///   where MPI fails.
  /// - Complexity: one allreduce of an integer; after a failure two broadcasts.
  public func agree<Value: ~Copyable>(_ body: () throws -> Value) throws -> Value {
    let outcome: Result<Value, any Error>
    do { outcome = .success(try body()) } catch { outcome = .failure(error) }
    switch consume outcome {
    case .success(let value):
      let failing = try allReduce(size, with: .min)
      guard failing < size else { return value }
      let message = try broadcastBytes([], from: failing)
      throw PeerFailure(rank: failing, message: String(decoding: message, as: UTF8.self))
    case .failure(let error):
      let failing = try allReduce(rank, with: .min)
      _ = try broadcastBytes(Array("\(error)".utf8), from: failing)
      throw error
    }
  }

  /// The lowest rank whose bytes are not those of rank 0, nil where all are the same.
  ///
  /// For what must be the same on all ranks, as a digest of the settings, before work starts.
  ///
  /// - Complexity: two broadcasts and one allreduce of an integer.
  public func lowestDifferingRank(_ bytes: [UInt8]) throws(MPIError) -> Int? {
    let reference = try broadcastBytes(bytes, from: 0)
    let lowest = try allReduce(bytes == reference ? size : rank, with: .min)
    return lowest == size ? nil : lowest
  }

  /// The lowest rank whose text is not that of rank 0, byte by byte in UTF-8, nil where all are the
  /// same.
  ///
  /// - Complexity: two broadcasts and one allreduce of an integer.
  public func lowestDifferingRank(_ text: String) throws(MPIError) -> Int? {
    try lowestDifferingRank(Array(text.utf8))
  }
}
