import AttentionTypes

/// How the results of a leaf of keys join the partial results of a tile of queries: what of a kind
/// of sums is the kernels' part.
protocol LeafSums: Sendable {
  /// Keys whose results are summed in `Float` by themselves before they join a partial result; a
  /// multiple of ``TileSizes/keys``.
  static var leaf: Int { get }

  /// Adds what some rows of one head have found out about a leaf.
  ///
  /// - Parameters:
  ///   - row: the first of them, `[batch, queryHeads, tokens]`.
  ///   - outputRow: the same, `[batch, tokens, queryHeads]`.
  static func add(
    _ state: LeafState, to results: ResultRows, row: Int, outputRow: Int)
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
