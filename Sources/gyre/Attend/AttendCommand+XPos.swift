import ArgumentParser
import Attention
import AttentionReference
import Reporting
import SequenceParallel
import Sharding
import Tensors

extension AttendCommand {
  /// Refuses a decay where it makes no sense.
  func checkXPos() throws {
    guard positions.xpos else { return }
    guard masks.choice.isCausal else {
      throw ValidationError(
        "--xpos makes keys count less the longer ago they were, and later ones more and more; give "
          + "--causal with it.")
    }
  }

  /// The twin of the decay; nil if there is none.
  func referenceDecay(_ input: AttentionInput, _ problem: some ShardedProblem) -> ReferenceDecay? {
    guard let decay = positions.decay(headDim: input.shape.headDim) else { return nil }
    return ReferenceDecay(
      bases: decay.bases, isInterleaved: positions.pairing == .interleaved,
      groupLength: XPosAttention.groupLength(of: problem.wire),
      range: input.places.keys.range(tokens: input.keyTokens),
      position: input.places.reference.key)
  }

  /// Refuses positions by which a query of this rank sees a key that stands after it.
  func requireOrder(_ input: AttentionInput, _ problem: ShardedAttention, rank: Int) throws {
    // Positions of windows ascend by themselves, unless queries are of others than their keys.
    let isGiven = positions.positionIds || input.maskTables["key_segment_ids"] != nil
    guard positions.xpos, isGiven, input.places.keys.isTable else { return }
    let (places, all) = (input.places, PositionRange(0..<input.keyTokens))
    let pattern = problem.pattern
    for batch in 0..<input.shape.batch {
      let latest = LatestPositions(places.keys, batch: batch, tokens: input.keyTokens)
      for query in problem.queries.shards[rank].joined() {
        let own = places.queries[batch, query]
        for head in 0..<(pattern.dependsOnHead ? input.shape.queryHeads : 1) {
          for seen in pattern.seenKeys(of: query, among: all, in: (batch, head)) {
            guard let key = latest.key(in: seen.keys, after: own) else { continue }
            throw UserError.usage(
              "Of sequence \(batch), token \(query) stands at \(own) and sees token \(key) at "
                + "\(places.keys[batch, key]): with --xpos keys count the more the later they "
                + "stand; let positions ascend among tokens that see each other.")
          }
        }
      }
    }
  }
}

/// The latest positions of stretches of keys, to find those after some position.
private struct LatestPositions {
  private let places: TokenPositions
  private let batch: Int
  private let latest: [Int]
  private static let length = 64

  init(_ places: TokenPositions, batch: Int, tokens: Int) {
    (self.places, self.batch) = (places, batch)
    latest = stride(from: 0, to: tokens, by: Self.length).map { first in
      (first..<min(first + Self.length, tokens)).reduce(Int.min) { max($0, places[batch, $1]) }
    }
  }

  /// One of some keys that stands after a position; nil if none does.
  func key(in keys: PositionRange, after position: Int) -> Int? {
    guard let first = keys.first, let last = keys.last else { return nil }
    for stretch in first / Self.length...last / Self.length where latest[stretch] > position {
      let part = keys.indices(in: stretch * Self.length..<(stretch + 1) * Self.length)
      if let key = keys.slice(part).first(where: { places[batch, $0] > position }) { return key }
    }
    return nil
  }
}
