import Attention
import AttentionReference
import Reporting
import Tensors

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

  /// Reads `position_ids` `[batch, tokens]` and `key_position_ids` `[batch, keyTokens]`, which keys
  /// have their own only if they must: where there are as many of them as of queries and no table
  /// of theirs, they stand where queries do.
  init(idsIn file: SafetensorsFile, batch: Int, tokens: Int, keyTokens: Int) throws {
    func ids(_ name: String, _ count: Int, _ what: String) throws -> [[Int]] {
      guard file.entry(name) != nil else {
        throw UserError(
          "'\(file.path)': --position-ids needs \(name) [\(batch), \(count)], a position for each "
            + "\(what), and there is none in the file; add it, or leave the option out.")
      }
      let source = try file.integers(name)
      guard source.shape == [batch, count] else {
        throw UserError(
          "'\(file.path)': \(name) is \(source.shape), and there are \(counted(batch, "sequence")) "
            + "of \(grouped(count)) \(what == "key" ? "keys" : "queries"); give "
            + "[\(batch), \(count)], a position for each.")
      }
      return try (0..<batch).map { try source.read($0 * count..<($0 + 1) * count) }
    }
    let queries = try ids("position_ids", tokens, "query")
    let keys =
      tokens == keyTokens && file.entry("key_position_ids") == nil
      ? queries : try ids("key_position_ids", keyTokens, "key")
    guard let places = TokenPlaces(queries: queries, keys: keys) else {
      throw UserError(
        "'\(file.path)': some position ids are 2^31 or more apart; give smaller ones.")
    }
    self = places
  }
}
