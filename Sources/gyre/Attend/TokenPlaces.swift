import Attention
import AttentionReference

/// Where the tokens of a run stand, for the kernels and for the oracle.
struct TokenPlaces {
  let queries: TokenPositions
  let keys: TokenPositions
  let reference: ReferenceTokenPositions

  /// By their indices, of which those of queries begin so far past those of keys.
  init(offset: Int) {
    queries = TokenPositions(offset: offset)
    keys = TokenPositions()
    reference = ReferenceTokenPositions(offset: offset)
  }

  /// By tables, `[batch][tokens]`; nil if some of one are 2³¹ or more apart.
  init?(queries: [[Int]], keys: [[Int]]) {
    guard let ofQueries = TokenPositions(Array(queries.joined()), batch: queries.count),
      let ofKeys = TokenPositions(Array(keys.joined()), batch: keys.count)
    else { return nil }
    self.queries = ofQueries
    self.keys = ofKeys
    reference = ReferenceTokenPositions(queries: queries, keys: keys)
  }
}
