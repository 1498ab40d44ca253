import Attention
import Sharding

/// What passes by the ranks in one pass, and what goes home.
struct TravellingBlocks {
  /// For each owner, the bytes of its block.
  let sizes: [Int]
  /// For each owner, the bytes of what is found out about its block; zeros if nothing is sent home.
  let results: [Int]
  /// Whether a rank has work to do on the block of an owner.
  let sees: (_ rank: Int, _ owner: Int) -> Bool
  /// Whether blocks go from each rank to the one before.
  ///
  /// Under a causal mask keys are of use to later ranks and queries to earlier ones, where the layout
  /// is contiguous; that way round each goes no further than it must.
  fileprivate let isReversed: Bool

  /// Their schedule on a ring of groups.
  func schedule(_ groups: [[Int]]) -> RingSchedule {
    RingSchedule(groups: isReversed ? groups.reversed() : groups, sees: sees)
  }

  /// The bytes that all ranks together send.
  ///
  /// - Parameter groups: those of the transport.
  func bytesSent(by transport: Transport, groups: [[Int]]) -> Int {
    let ranks = sizes.indices
    if transport == .allgather {
      return ranks.reduce(0) { sum, owner in
        sum + ranks.count { $0 != owner && sees($0, owner) } * (sizes[owner] + results[owner])
      }
    }
    let schedule = schedule(groups)
    return ranks.reduce(0) { $0 + schedule.bytesSent(by: $1, blocks: sizes, results: results) }
  }
}

extension ShardedAttention {
  /// Keys and values on their way past queries.
  func travellingKeys(_ pass: AttentionPass) -> TravellingBlocks {
    TravellingBlocks(
      sizes: blockBytes,
      results: pass == .forward
        ? [Int](repeating: 0, count: ranks)
        : keyCounts.map {
          KeyValueGradient.byteCount(keys: $0, shape: shape, accumulation: accumulation)
        }, sees: sees, isReversed: false)
  }

  /// Queries on their way past keys and values.
  func travellingQueries(_ pass: AttentionPass) -> TravellingBlocks {
    TravellingBlocks(
      sizes: queryCounts.map { QueryBlock.byteCount(tokens: $0, shape: shape, pass: pass) },
      results: queryCounts.map {
        switch pass {
        case .forward:
          ForwardPartial.byteCount(tokens: $0, shape: shape, accumulation: accumulation)
        case .backward:
          QueryGradient.byteCount(tokens: $0, shape: shape, accumulation: accumulation)
        }
      }, sees: { rank, owner in sees(rank: owner, owner: rank) }, isReversed: true)
  }

  private var keyCounts: [Int] { keys.shards.indices.map(keys.tokenCount) }
  private var queryCounts: [Int] { queries.shards.indices.map(queries.tokenCount) }
}
