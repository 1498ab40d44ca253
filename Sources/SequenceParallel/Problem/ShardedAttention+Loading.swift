public import Attention
import Sharding
import Tensors

/// A key or value that the wire type cannot hold.
public struct WireRangeError: Error, Hashable, Sendable, CustomStringConvertible {
  /// `k` or `v`.
  public let tensor: String
  /// `[batch, token, head, column]`.
  public let index: [Int]
  /// The element.
  public let value: Float
  /// The type that is too narrow.
  public let wire: WireType

  /// One sentence with the remedy.
  public var description: String {
    "\(tensor)\(index) is \(value), which overflows the wire type \(wire); "
      + "use --wire bf16 or --wire f32."
  }
}

extension ShardedAttention {
  /// Bytes of key or value rows that are read and packed at a time.
  private static let pieceBytes = 4 << 20

  /// Reads and packs a rank's own keys and values, piece by piece, so that memory is the packed
  /// block and little else.
  ///
  /// - Parameters:
  ///   - keySource: `[batch, keyTokens, kvHeads, headDim]`.
  ///   - valueSource: `[batch, keyTokens, kvHeads, valueHeadDim]`.
  ///   - rank: whose shard.
  ///   - block: a block of the rank's keys in their order, to be filled; its runs may be cut more
  ///     finely than those of the shard.
  ///   - team: reads and packs.
  /// - Throws: what a source throws, and ``WireRangeError``.
  public func load(
    keys keySource: some TokenRows, values valueSource: some TokenRows, rank: Int,
    into block: inout KeyValueBlock, team: ThreadTeam = ThreadTeam(threads: 1)
  ) throws {
    let runs = block.runs
    precondition(
      block.keyCount == keys.tokenCount(of: rank), "the block of another shard")
    try forEachPiece(of: keySource, "k", runs, team) { rows, batch, run, start in
      block.packKeys(rows, batch: batch, run: run, from: start, team: team)
    }
    try forEachPiece(of: valueSource, "v", runs, team) { rows, batch, run, start in
      block.packValues(rows, batch: batch, run: run, from: start, team: team)
    }
  }

  private func forEachPiece(
    of source: some TokenRows, _ name: String, _ runs: [PositionRange], _ team: ThreadTeam,
    _ body: (_ rows: Span<Float>, _ batch: Int, _ run: Int, _ start: Int) -> Void
  ) throws {
    let bytesPerToken = source.rowLength * MemoryLayout<Float>.stride
    let tokensPerPiece = max(1, Self.pieceBytes / bytesPerToken)
    var piece = AlignedBuffer<Float>(zeros: tokensPerPiece * source.rowLength)
    for batch in 0..<shape.batch {
      for (run, positions) in runs.enumerated() {
        for start in stride(from: 0, to: positions.count, by: tokensPerPiece) {
          let tokens = positions.slice(start..<min(start + tokensPerPiece, positions.count))
          let count = tokens.count * source.rowLength
          var all = piece.mutableSpan
          var rows = all.part(0..<count)
          try source.read(batch: batch, tokens: tokens, into: &rows, team: team)
          try checkRange(of: rows.span, name, source.shape, batch: batch, tokens: tokens)
          body(rows.span, batch, run, start)
        }
      }
    }
  }

  /// Half precision ends at 65504; what would round to infinity is refused.
  private func checkRange(
    of rows: Span<Float>, _ name: String, _ shape: Shape, batch: Int, tokens: PositionRange
  ) throws(WireRangeError) {
    guard wire == .f16 else { return }
    let rowLength = shape[2] * shape[3]
    for index in rows.indices where abs(rows[index]) >= 65520 {
      let (row, column) = index.quotientAndRemainder(dividingBy: rowLength)
      throw WireRangeError(
        tensor: name, index: [batch, tokens[row], column / shape[3], column % shape[3]],
        value: rows[index], wire: wire)
    }
  }
}
