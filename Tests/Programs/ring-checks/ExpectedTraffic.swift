import Attention
import MPI
import SequenceParallel
import Sharding
import Tensors

/// What each rank has to send if nothing is sent that nobody needs, worked out from positions
/// alone.
struct ExpectedTraffic {
  /// For each owner, pieces of its shard in their order, of which each is sent by itself or not.
  private let pieces: [[[Int]]]
  /// For each owner, for each piece, how far on the way the ranks are that need it.
  private let needs: [[[Int]]]
  /// From each rank to the next, or to the one before.
  private let direction: Int

  /// - Parameters:
  ///   - attention: the problem; what travels is sent run by run.
  ///   - byToken: what travels is sent token by token, which is less where others see a run in
  ///     part.
  init(
    _ attention: ShardedAttention, _ travelling: Travelling, byToken: Bool = false,
    sees: (_ query: Int, _ key: Int) -> Bool
  ) {
    let isKeys = travelling == .keys
    let shards = (isKeys ? attention.keys : attention.queries).shards
    let pieces = shards.map { runs in
      byToken ? runs.flatMap { $0.map { [$0] } } : runs.map { Array($0) }
    }
    let staying = (isKeys ? attention.queries : attention.keys).shards.map {
      $0.flatMap { Array($0) }
    }
    let (ranks, direction) = (shards.count, isKeys ? 1 : -1)
    needs = pieces.indices.map { owner in
      pieces[owner].map { piece in
        (1..<max(ranks, 1)).filter { distance in
          let rank = ((owner + direction * distance) % ranks + ranks) % ranks
          return staying[rank].contains { own in
            piece.contains { isKeys ? sees(own, $0) : sees($0, own) }
          }
        }
      }
    }
    self.pieces = pieces
    self.direction = direction
  }

  private var ranks: Int { pieces.count }

  /// Bytes and messages that a rank sends in one pass.
  func sent(
    by rank: Int, direct: Bool, block: Int, result: Int
  ) -> (bytes: Int, messages: Int) {
    var bytes = 0
    var messages = 0
    func send(_ owner: Int, _ bytesPerToken: Int, where isSent: (Int) -> Bool) {
      if bytesPerToken == 0 { return }
      var isGoingOn = false
      for (index, piece) in pieces[owner].enumerated() {
        if isSent(index) {
          bytes += piece.count * bytesPerToken
          if !isGoingOn { messages += 1 }
        }
        isGoingOn = isSent(index)
      }
    }
    for owner in 0..<ranks {
      let needs = needs[owner]
      let distance = (direction * (rank - owner) % ranks + ranks) % ranks
      let last = needs.map { $0.last ?? 0 }
      if direct {
        if distance > 0 {
          send(owner, result) { needs[$0].contains(distance) }
        } else {
          for other in 1..<max(ranks, 1) { send(owner, block) { needs[$0].contains(other) } }
        }
      } else {
        send(owner, block) { distance < last[$0] }
        if distance > 0 {
          send(owner, result) { distance < last[$0] }
          send(owner, result) { distance == last[$0] }
        }
      }
    }
    return (bytes, messages)
  }

  /// Throws unless this rank has sent just that.
  func check(
    _ traffic: Traffic, rank: Int, direct: Bool = false, block: Int, result: Int, _ name: String
  ) throws {
    let expected = sent(by: rank, direct: direct, block: block, result: result)
    try require(
      traffic.bytesSent == expected.bytes && traffic.messagesSent == expected.messages,
      "\(name): \(traffic.bytesSent) bytes sent in \(traffic.messagesSent) messages, not "
        + "\(expected.bytes) in \(expected.messages)")
  }
}
