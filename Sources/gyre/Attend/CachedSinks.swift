import ArgumentParser
import Attention
import AttentionReference
import Reporting
import SequenceParallel

/// Sinks that stand next to the window, as in a cache: how many there are, and where queries stand
/// for them, for the kernels and for the oracle.
struct CachedSinks {
  let count: Int
  /// Where queries stand for sinks.
  let queries: TokenPositions
  /// The same for the oracle.
  let reference: ReferenceTokenPositions

  /// Those of tokens that stand somewhere: a query at t stands at `min(t, p + S + W − 1)` for
  /// sinks, of which the first stands at p.
  ///
  /// - Throws: where positions are too far apart.
  init(count: Int, window: Int, of input: AttentionInput) throws {
    let (places, reach) = (input.places, count + window - 1)
    self.count = count
    reference = ReferenceTokenPositions(
      query: { batch, token in
        min(places.reference.query(batch, token), places.reference.key(batch, 0) + Double(reach))
      }, key: places.reference.key)
    guard places.queries.isTable || places.keys.isTable else {
      queries = TokenPositions(offset: input.offset, last: reach)
      return
    }
    let all = (0..<input.shape.batch).flatMap { batch in
      let last = places.keys[batch, 0] + reach
      return (0..<input.tokens).map { min(places.queries[batch, $0], last) }
    }
    guard let table = TokenPositions(all, batch: input.shape.batch) else {
      throw UserError("Positions of queries and of sinks are 2^31 or more apart; give nearer ones.")
    }
    queries = table
  }

  /// The rule of sinks where they are, and that of later keys elsewhere.
  struct ReferenceRule: ReferenceScoreRule {
    let count: Int
    let sinks: any ReferenceScoreRule
    let later: any ReferenceScoreRule

    func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
      (key < count ? sinks : later).score(s, batch: batch, query: query, key: key, head: head)
    }

    func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
      (key < count ? sinks : later).slope(s, batch: batch, query: query, key: key, head: head)
    }
  }
}

extension AttendCommand {
  /// The sinks of a run; nil if they stand where they are in the sequence.
  func cachedSinks(_ input: AttentionInput) throws -> CachedSinks? {
    guard positions.sinkPositions == .cache, let count = masks.window.sinks,
      let window = masks.window.window
    else { return nil }
    return try CachedSinks(count: count, window: window, of: input)
  }

  /// What computes with them.
  func describe(
    _ sinks: CachedSinks, _ input: AttentionInput, _ positions: RotaryPositions?,
    bias parts: [BiasPart]
  ) -> CachedSinkAttention.Sinks {
    CachedSinkAttention.Sinks(
      count: sinks.count, queries: (input.places.queries, sinks.queries), rotation: positions,
      scoreRule: rule(input, queries: sinks.queries, bias: parts))
  }
}
