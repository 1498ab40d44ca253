public import Attention
public import Tensors

/// Queries or keys of a source, turned by their positions as they are read.
public struct TurnedRows: TokenRows {
  private let source: any TokenRows
  private let rotation: RotaryPositions
  private let positions: TokenPositions

  /// Describes the rows.
  ///
  /// - Parameters:
  ///   - rotation: turns them.
  ///   - positions: where tokens stand.
  public init(
    _ source: any TokenRows, by rotation: RotaryPositions,
    at positions: TokenPositions = TokenPositions()
  ) {
    self.source = source
    self.rotation = rotation
    self.positions = positions
  }

  /// That of the source.
  public var shape: Shape { source.shape }

  /// Reads rows and turns them.
  public func read(
    batch: Int, tokens: PositionRange, into numbers: inout MutableSpan<Float>
  ) throws {
    try source.read(batch: batch, tokens: tokens, into: &numbers)
    rotation.turn(
      &numbers, heads: shape[2], headDim: shape[3],
      positions: tokens.lazy.map { positions[batch, $0] })
  }
}
