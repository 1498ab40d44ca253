public import Attention
public import Tensors

/// Queries or keys of a source, turned by their positions as they are read.
public struct TurnedRows: TokenRows {
  private let source: any TokenRows
  private let positions: RotaryPositions
  private let offset: Int

  /// Describes the rows.
  ///
  /// - Parameter offset: how far past its own index a row stands: `keyTokens − tokens` for queries.
  public init(_ source: any TokenRows, by positions: RotaryPositions, offset: Int = 0) {
    self.source = source
    self.positions = positions
    self.offset = offset
  }

  /// That of the source.
  public var shape: Shape { source.shape }

  /// Reads rows and turns them.
  public func read(
    batch: Int, tokens: PositionRange, into numbers: inout MutableSpan<Float>
  ) throws {
    try source.read(batch: batch, tokens: tokens, into: &numbers)
    positions.turn(
      &numbers, heads: shape[2], headDim: shape[3],
      positions: PositionRange(
        start: tokens.start + offset, stride: tokens.stride, count: tokens.count))
  }
}
