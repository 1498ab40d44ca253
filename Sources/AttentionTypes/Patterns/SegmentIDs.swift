/// `segment_ids` and `key_segment_ids` of an input: what masks of documents and of context windows
/// have in common.
extension MaskInputs {
  /// For each sequence, the numbers of its queries, and of its keys if these are others.
  var segmentIDs: (queries: [ArraySlice<Int32>], keys: [ArraySlice<Int32>]?) {
    let queries = self["segment_ids"]
    return (
      (0..<batch).map(queries.row),
      tables["key_segment_ids"].map { keys in (0..<batch).map(keys.row) }
    )
  }
}

/// Refuses segment numbers of another shape.
func checkSegmentIDs(_ inputs: MaskInputs) throws(MaskError) {
  let shape = inputs["segment_ids"].shape
  guard shape == [inputs.batch, inputs.tokens] else {
    throw MaskError(
      "segment_ids is \(shape); give [batch, tokens], a number for each query, here "
        + "\([inputs.batch, inputs.tokens]).")
  }
  if let keys = inputs.tables["key_segment_ids"] {
    guard keys.shape == [inputs.batch, inputs.keyTokens] else {
      throw MaskError(
        "key_segment_ids is \(keys.shape); give [batch, keyTokens], a number for each key, here "
          + "\([inputs.batch, inputs.keyTokens]).")
    }
  } else if inputs.tokens != inputs.keyTokens {
    throw MaskError(
      "there are \(inputs.tokens) queries and \(inputs.keyTokens) keys, and no key_segment_ids; "
        + "give them beside segment_ids, [batch, keyTokens].")
  }
}

/// Segment numbers of pieces of random lengths, of the keys of each sequence; queries are the last.
///
/// - Parameter number: of a piece among how many.
func drawnSegmentIDs(
  for inputs: MaskInputs, from random: inout MaskRandom, pieces: Int,
  number: (_ piece: Int, _ count: Int) -> Int32
) -> [String: MaskTable] {
  var (queries, keys): ([Int32], [Int32]) = ([], [])
  for _ in 0..<inputs.batch {
    let starts = random.starts(of: inputs.keyTokens, pieces: pieces)
    var own: [Int32] = []
    own.reserveCapacity(inputs.keyTokens)
    for (piece, start) in starts.enumerated() {
      let end = piece + 1 < starts.count ? starts[piece + 1] : inputs.keyTokens
      own += repeatElement(number(piece, starts.count), count: end - start)
    }
    keys += own
    // What is before the first key is of the first piece.
    queries += (0..<inputs.tokens).map { index in
      own.isEmpty ? 0 : own[max(0, index + inputs.offset)]
    }
  }
  let ids = MaskTable(shape: [inputs.batch, inputs.tokens], numbers: queries)
  if inputs.tokens == inputs.keyTokens { return ["segment_ids": ids] }
  return [
    "segment_ids": ids,
    "key_segment_ids": MaskTable(shape: [inputs.batch, inputs.keyTokens], numbers: keys),
  ]
}
