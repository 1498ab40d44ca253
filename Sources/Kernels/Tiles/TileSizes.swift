/// The sizes that decide speed and nothing else.
///
/// - The *register tile* is 6 rows × 2 vectors: 12 accumulators, 2 loads and 1 broadcast fill 15 of
///   AVX2's 16 vector registers, and 12 multiply–adds hang on 8 loads. AVX-512 has registers for
///   more rows, but 12 chains already hide the latency of both its multiply–add units.
/// - The *key tile* is as many keys as keep one panel of values (64 or 128 bytes a key) and one
///   panel of keys in L1 while every row of the query tile passes over it.
/// - The *query tile* is as many rows as keep packed queries, scores and outputs in L2 beside the
///   key tile: `rows × (headDim + 208 + valueHeadDim)` floats and `192 × (headDim + valueHeadDim)`.
///   At head dim 128 that is 450 KiB with 144 rows, for the second-level caches of processors with
///   AVX2, and 715 KiB with 288, for those of processors with AVX-512, of 1 MiB and more.
enum TileSizes {
  /// Rows of a register tile.
  @inline(__always) static var registerRows: Int { RegisterTile.height }
  /// Columns of a register tile, keys of a K panel, columns of a V panel.
  @inline(__always) static var panelWidth: Int { RegisterTile.width }
  /// Query rows of a tile, half as many where products take twice the time; a multiple of twice
  /// ``registerRows``.
  @inline(__always) static var queries: Int { 288 }
  /// Keys of a tile; a multiple of ``panelWidth``.
  @inline(__always) static var keys: Int { 192 }

  /// Query rows of a tile of the backward pass; a multiple of ``registerRows``.
  @inline(__always) static var backwardQueries: Int { 96 }
  /// Keys of a tile of the backward pass, whatever a factor is; a multiple of ``registerRows`` and
  /// ``panelWidth``.
  ///
  /// Queries are packed, and their gradients fetched, once for each tile: with 96 keys that was a
  /// fifth of the pass.
  @inline(__always) static var backwardKeys: Int { 192 }

  /// Keys whose results are summed plainly before they are added to a row's state with what
  /// rounding takes; a multiple of ``keys``.
  ///
  /// Adding so after each tile would cost some percent.
  @inline(__always) static var fastLeaf: Int { 16 * keys }
  /// Likewise, tiles of queries whose contributions to the gradients of a key are, and tiles of
  /// keys whose contributions to those of a query.
  @inline(__always) static var backwardTilesAtOnce: Int { 16 }
  /// Tiles of keys that are so few that what they contribute is added to a query's gradients at
  /// once.
  @inline(__always) static var fewBackwardTiles: Int { 4 }
}

extension Factor {
  /// Query rows of a tile: half as many for `Float` in vectors of 8.
  ///
  /// Keys come from far away once for each tile, which counts less there, and processors without
  /// AVX-512 have smaller caches.
  @inline(__always) static var queries: Int {
    depth * Vector.width < 16 ? TileSizes.queries / 2 : TileSizes.queries
  }
  /// Keys of a tile: twice as many where a register tile goes to memory and back with each.
  @inline(__always) static var keys: Int { TileSizes.keys * (stepRun > 1 ? 2 : 1) }
  /// Floats between rows of the score tile: the extra 16 keep rows of a group out of one cache set.
  @inline(__always) static var scoreStride: Int { keys + 16 }
  /// Query rows of a tile of the backward pass: a whole number of groups, and twice as many where a
  /// register tile goes to memory and back with each.
  @inline(__always) static var backwardQueries: Int {
    TileSizes.backwardQueries * (stepRun > 1 ? 2 : 1)
  }
  /// Floats, or factors, between rows of its weights.
  @inline(__always) static var backwardStride: Int { TileSizes.backwardKeys + 16 }
}
