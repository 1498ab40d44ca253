import Attention
import Glibc
import MPI

/// An error that all ranks know of, with the same sentence.
struct SharedFailure: Error, CustomStringConvertible {
  let description: String
}

/// What ranks tell each other before they do something together.
private struct Word: BitwiseCopyable {
  /// Of what is about to be done.
  var hash: UInt64
  var hasFailed: Bool
  var tokens: Int
  var keyTokens: Int
}

/// The tokens that each rank has.
struct MeetingTokens {
  let queries: [Int]
  let keys: [Int]
}

extension Communicator {
  /// Has all ranks say what they are about to do; what one of them cannot do fails on all.
  ///
  /// Called by all ranks together. It costs one small message a rank, where all is well.
  ///
  /// - Parameters:
  ///   - operation: the same on all ranks, with all that has to be the same.
  ///   - complaint: what keeps this rank from it; nil if nothing does.
  ///   - tokens: the queries and keys that this rank has.
  @discardableResult
  func meet(
    for operation: String, complaint: String? = nil, tokens: (queries: Int, keys: Int) = (0, 0)
  ) throws -> MeetingTokens {
    let own = Word(
      hash: hash(of: operation), hasFailed: complaint != nil, tokens: tokens.queries,
      keyTokens: tokens.keys)
    let words = try allGather(own)
    if let lowest = words.firstIndex(where: \.hasFailed) {
      let sentence = try broadcast(complaint ?? "", from: lowest)
      let place = words.allSatisfy(\.hasFailed) ? "" : "rank \(lowest): "
      throw SharedFailure(description: place + sentence)
    }
    if let other = words.firstIndex(where: { $0.hash != words[0].hash }) {
      let first = try broadcast(operation, from: 0)
      let second = try broadcast(operation, from: other)
      throw SharedFailure(
        description: "ranks do different things at a time: rank 0 \(first), and rank \(other) "
          + "\(second); all ranks make the same calls in the same order.")
    }
    return MeetingTokens(queries: words.map(\.tokens), keys: words.map(\.keyTokens))
  }

  /// Runs what can fail on some ranks alone, and if it does fails on all with its sentence.
  ///
  /// Called by all ranks together.
  func together<Value>(_ body: () throws -> Value) throws -> Value {
    do {
      return try agree(body)
    } catch let error as MPIError {
      throw error
    } catch {
      let isOwn = !(error is PeerFailure)
      let lowest = try allReduce(isOwn ? rank : size, with: .min)
      let count = try allReduce(isOwn ? 1 : 0, with: .sum)
      let sentence = try broadcast("\(error)", from: lowest)
      throw SharedFailure(description: (count == size ? "" : "rank \(lowest): ") + sentence)
    }
  }

  private func broadcast(_ text: String, from rank: Int) throws(MPIError) -> String {
    String(decoding: try broadcastBytes(Array(text.utf8), from: rank), as: UTF8.self)
  }
}

/// FNV-1a, which is the same on all ranks; `Hasher` is not.
private func hash(of text: String) -> UInt64 {
  text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
}
