import AttentionTypes

/// How the results of a leaf of keys join the partial results of a tile of queries: what of a kind
/// of sums is the kernels' part.
protocol LeafSums: Sendable {
  /// Keys whose results are summed in `Float` by themselves before they join a partial result; a
  /// multiple of ``TileSizes/keys``.
  static var leaf: Int { get }

  /// Adds what a tile of queries has found out about a leaf.
  ///
  /// - Parameters:
  ///   - row: the tile's first row, `[batch, queryHeads, tokens]`.
  ///   - outputRow: the same, `[batch, tokens, queryHeads]`.
  static func add(
    _ tile: borrowing RowResults, to results: ResultRows, row: Int, outputRow: Int)
}

extension Accumulation {
  /// The file that knows how.
  var leafSums: any LeafSums.Type {
    switch self {
    case .fast: FastLeafSums.self
    case .reproducible: ReproducibleLeafSums.self
    }
  }
}
