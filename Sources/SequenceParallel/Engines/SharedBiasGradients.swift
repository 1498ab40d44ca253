public import Attention
public import MPI
import Sharding

/// The gradients of a bias that all heads share, where ranks share the heads: sums over them that
/// go from each rank of a row to the next, each of which adds its own heads in their order. The
/// last one has what a rank with all heads would have, to the bit.
extension BiasPart {
  /// Adds up what the ranks of a row have found, called by all ranks together; nothing is done
  /// where heads have biases of their own, or ranks all heads.
  ///
  /// - Parameter route: of the forward pass, which says who shares heads.
  /// - Throws: `MPIError`, and ``RouteError`` if the route cannot serve the ranks.
  /// - Complexity: 8 bytes a query and key from each rank of a row but the last, in pieces.
  public func joinHeads(on route: Route, of world: borrowing Communicator) throws {
    let grid = try route.grid(ranks: world.size)
    guard isOfAllHeads, grid.columns > 1 else { return }
    let column = grid.place(of: world.rank).column
    let isLast = column == grid.columns - 1
    let rowsOfPiece = max(1, Self.pieceNumbers / max(1, columnCount))
    var whole: [Float] = []
    for first in stride(from: 0, to: sharedRowCount, by: rowsOfPiece) {
      let rows = first..<min(first + rowsOfPiece, sharedRowCount)
      var sums = [Double](repeating: 0, count: rows.count * columnCount)
      if column > 0 {
        var span = sums.mutableSpan
        try world.receive(into: &span, from: world.rank - 1, tag: Self.tag)
      }
      for row in rows {
        let start = (row - first) * columnCount
        var own = Array(sums[start..<start + columnCount])
        addSharedGradients(ofRow: row, to: &own)
        sums.replaceSubrange(start..<start + columnCount, with: own)
      }
      if isLast {
        whole += sums.map { Float($0) }
      } else {
        try world.send(sums.span, to: world.rank + 1, tag: Self.tag)
      }
    }
    join(isLast ? whole : nil)
  }

  private static var pieceNumbers: Int { 1 << 17 }
  private static var tag: Int { 7001 }
}
