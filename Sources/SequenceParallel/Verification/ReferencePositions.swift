public import AttentionReference
import Tensors

/// The twin of rotary positions, for checks.
public struct ReferencePositions: Sendable {
  let rotation: ReferenceRotation
  private let queryOffset: Int

  /// Describes them.
  ///
  /// - Parameter queryOffset: how far past its own index a query stands among the keys.
  public init(_ rotation: ReferenceRotation, queryOffset: Int = 0) {
    self.rotation = rotation
    self.queryOffset = queryOffset
  }

  /// Queries, turned as they are read.
  func queries(_ source: any TokenRows) -> any TokenRows {
    Rows(source: source, rotation: rotation, offset: queryOffset)
  }

  /// Keys, likewise.
  func keys(_ source: any TokenRows) -> any TokenRows {
    Rows(source: source, rotation: rotation, offset: 0)
  }

  /// The gradient of a query's heads as they were before.
  ///
  /// - Parameter row: `[heads · headDim]`.
  func turnedBack(query row: ArraySlice<Double>, headDim: Int, at position: Int) -> [Double] {
    backwards(row, headDim: headDim, position: position + queryOffset)
  }

  /// That of a key's heads.
  func turnedBack(key row: ArraySlice<Double>, headDim: Int, at position: Int) -> [Double] {
    backwards(row, headDim: headDim, position: position)
  }

  private func backwards(
    _ row: ArraySlice<Double>, headDim: Int, position: Int
  ) -> [Double] {
    stride(from: row.startIndex, to: row.endIndex, by: headDim).flatMap {
      rotation.transposed(Array(row[$0..<$0 + headDim]), position: position)
    }
  }

  private struct Rows: TokenRows {
    let source: any TokenRows
    let rotation: ReferenceRotation
    let offset: Int

    var shape: Shape { source.shape }

    func read(
      batch: Int, tokens: PositionRange, into numbers: inout MutableSpan<Float>
    ) throws {
      try source.read(batch: batch, tokens: tokens, into: &numbers)
      var start = 0
      for token in tokens {
        for _ in 0..<shape[2] {
          let row = (start..<start + shape[3]).map { Double(numbers[$0]) }
          for (column, value) in rotation(row, position: token + offset).enumerated() {
            numbers[start + column] = Float(value)
          }
          start += shape[3]
        }
      }
    }
  }
}
