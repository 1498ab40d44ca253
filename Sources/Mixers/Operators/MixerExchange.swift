public import Sharding
import Tensors

/// What ranks exchange in a pass, so that bytes and messages can be reckoned beforehand.
public enum MixerExchange: Hashable, Sendable {
  /// Each unit's state goes from each rank with tokens to the next: `floats` of all units.
  ///
  /// `effect` is what it takes to compute what a rank's tokens do to any state, over the time of
  /// the pass; nil if the operator cannot.
  case scan(units: Int, floats: Int, effect: Double? = nil)
  /// Numbers that are added up over all ranks.
  case summary(floats: Int)
  /// The last `rows` rows of tokens before a rank's first, of so many floats for all sequences
  /// together; backward their gradients the other way.
  case halo(rows: Int, floats: Int)
  /// The same of the tokens after a rank's last.
  case haloAfter(rows: Int, floats: Int)
  /// Each rank's block, of so many floats a token of all sequences, visits every rank, and
  /// `returning` floats a token of sums follow it and come home.
  case ring(floats: Int, returning: Int)
  /// One that goes against the direction of the pass.
  indirect case reversed(MixerExchange)

  /// In how many pieces the states of units go on from a rank.
  ///
  /// - Parameter threads: the most of any rank.
  public static func pieces(units: Int, threads: Int) -> Int {
    Scan.groups(units: units, threads: threads).count
  }

  /// The bytes and messages that a rank sends.
  ///
  /// - Parameters:
  ///   - isReverse: whether states, and the gradients of rows, go towards the first token.
  ///   - threads: the most of any rank.
  public func sent(
    by rank: Int, of sharding: Sharding, isReverse: Bool, threads: Int
  ) -> (bytes: Int, messages: Int) {
    let ranks = sharding.ranks
    if ranks == 1 { return (0, 0) }
    switch self {
    case .scan(let units, let floats, _):
      let others = isReverse ? 0..<rank : rank + 1..<ranks
      let hasNext = others.contains { !sharding.shards[$0].isEmpty }
      guard hasNext, !sharding.shards[rank].isEmpty, units > 0 else { return (0, 0) }
      return (4 * floats, Scan.groups(units: units, threads: threads).count)
    case .summary(let floats):
      let cuts = (0...ranks).map { floats * $0 / ranks }
      let parts = (0..<ranks).map { cuts[$0 + 1] - cuts[$0] }
      let others = (0..<ranks).filter { $0 != rank && parts[$0] > 0 }
      let own = parts[rank]
      return (
        4 * (floats - own) + 4 * own * (ranks - 1), others.count + (own > 0 ? ranks - 1 : 0)
      )
    case .halo(let rows, let floats):
      return halo(rank, sharding, isReverse: isReverse, floats) {
        max(0, $0.lowerBound - rows)..<$0.lowerBound
      }
    case .haloAfter(let rows, let floats):
      return halo(rank, sharding, isReverse: isReverse, floats) {
        $0.upperBound..<min(sharding.tokens, $0.upperBound + rows)
      }
    case .ring(let floats, let returning):
      let counts = (0..<ranks).map { sharding.tokenCount(of: $0) }
      // All blocks but that which the next rank began with, and the sums of all.
      let others = counts.indices.filter { $0 != (rank + 1) % ranks && counts[$0] > 0 }
      let blocks = others.reduce(0) { $0 + counts[$1] }
      let sums = returning > 0 ? counts.count { $0 > 0 } : 0
      return (
        4 * (floats * blocks + returning * sharding.tokens), others.count + sums
      )
    case .reversed(let exchange):
      return exchange.sent(by: rank, of: sharding, isReverse: !isReverse, threads: threads)
    }
  }

  /// What a rank sends of the rows that others want, or of their gradients.
  ///
  /// - Parameter wanted: positions that the rank of some positions wants.
  private func halo(
    _ rank: Int, _ sharding: Sharding, isReverse: Bool, _ floats: Int,
    _ wanted: (_ own: Range<Int>) -> Range<Int>
  ) -> (bytes: Int, messages: Int) {
    let ranges = sharding.shards.map { runs in
      runs.first.map { $0.start..<$0.start + $0.count } ?? 0..<0
    }
    let parts = ranges.indices.filter { $0 != rank }.map { other in
      let (giver, taker) = isReverse ? (other, rank) : (rank, other)
      let halo = ranges[taker].isEmpty ? 0..<0 : wanted(ranges[taker])
      return halo.clamped(to: ranges[giver]).count
    }
    return (4 * floats * parts.reduce(0, +), parts.count { $0 > 0 })
  }
}
