public import Attention
import Sharding
public import Tensors

/// The pairs that a rank computes on a route: what it has to hold of a bias.
public struct BiasExtent: Hashable, Sendable {
  /// Query heads of the whole problem.
  public let heads: Range<Int>
  /// Queries.
  public let queries: [PositionRange]
  /// Keys.
  public let keys: [PositionRange]

  /// The bytes of a part of a bias.
  public func byteCount(of shape: Shape, batch: Int, collectsGradients: Bool) -> Double {
    BiasPart.byteCount(
      of: shape, batch: batch, heads: heads, queries: queries, keys: keys,
      collectsGradients: collectsGradients)
  }

  /// Reads a part of a bias.
  ///
  /// - Parameters:
  ///   - batch: sequences of the problem.
  ///   - collectsGradients: whether the gradients of its numbers are kept.
  /// - Throws: what the source throws.
  public func load(
    _ source: some BiasSource, batch: Int, collectsGradients: Bool
  ) throws -> BiasPart {
    let part = BiasPart(
      of: source.shape, batch: batch, heads: heads, queries: queries, keys: keys,
      collectsGradients: collectsGradients)
    let isWhole = keys == [PositionRange(0..<source.shape[3])]
    for sequence in 0..<part.batch {
      for head in part.heads {
        var row = 0
        for run in queries {
          if isWhole {
            try part.fill(
              batch: sequence, head: head, rows: row..<row + run.count,
              columns: 0..<source.shape[3]
            ) { try source.read(batch: sequence, head: head, queries: run, into: &$0) }
          } else {
            for (index, query) in run.enumerated() {
              try readRow(query, at: row + index, source, batch: sequence, head: head, to: part)
            }
          }
          row += run.count
        }
      }
    }
    return part
  }

  private func readRow(
    _ query: Int, at row: Int, _ source: some BiasSource, batch: Int, head: Int, to part: BiasPart
  ) throws {
    var column = 0
    for run in keys {
      try part.fill(
        batch: batch, head: head, rows: row..<row + 1, columns: column..<column + run.count
      ) {
        try source.read(batch: batch, head: head, query: query, keys: run, into: &$0)
      }
      column += run.count
    }
  }
}

extension ShardedAttention {
  /// The pairs that a rank computes in a pass on a route.
  ///
  /// Where keys travel they are those of its queries and all keys, where queries do those of all
  /// queries and its keys; where ranks share heads, of its heads and the tokens of its row.
  ///
  /// - Parameters:
  ///   - route: of the forward pass, which says who shares heads.
  ///   - travelling: what travels in the pass.
  /// - Throws: ``RouteError`` if the route cannot serve the ranks.
  public func biasExtent(
    rank: Int, route: Route, travelling: Travelling
  ) throws -> BiasExtent {
    let grid = try route.grid(ranks: ranks)
    let (row, column) = grid.place(of: rank)
    let isKeys = travelling == .keys
    return BiasExtent(
      heads: grid.shares(of: shape)[column].queryHeads,
      queries: isKeys
        ? queries.grouped(by: grid.columns).shards[row] : [PositionRange(0..<queries.tokens)],
      keys: isKeys
        ? [PositionRange(0..<keys.tokens)] : keys.grouped(by: grid.columns).shards[row])
  }
}
