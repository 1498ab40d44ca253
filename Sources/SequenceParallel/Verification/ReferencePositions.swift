public import AttentionReference
import Tensors

/// The twin of rotary positions, for checks.
public struct ReferencePositions: Sendable {
  let rotation: ReferenceRotation
  private let positions: ReferenceTokenPositions
  /// Where queries stand for the first keys, and how many those are.
  private let atSinks: (@Sendable (_ batch: Int, _ token: Int) -> Double)?
  let sinkCount: Int
  /// What multiplies columns beside; nil if nothing does.
  let decay: ReferenceDecay?

  /// Describes them.
  ///
  /// - Parameters:
  ///   - positions: where queries and keys stand.
  ///   - decay: what multiplies columns beside; nil if nothing does.
  ///   - sinks: how many of the first keys there are for which queries stand elsewhere, and where.
  public init(
    _ rotation: ReferenceRotation, at positions: ReferenceTokenPositions = .init(),
    sinks: (count: Int, query: @Sendable (_ batch: Int, _ token: Int) -> Double)? = nil,
    decay: ReferenceDecay? = nil
  ) {
    self.decay = decay
    self.rotation = rotation
    self.positions = positions
    atSinks = sinks?.query
    sinkCount = sinks?.count ?? 0
  }

  /// Where a query stands for a key.
  func position(ofQuery query: Int, _ batch: Int, meeting key: Int) -> Double {
    (key < sinkCount ? atSinks?(batch, query) : nil) ?? positions.query(batch, query)
  }

  /// Queries, turned as they are read.
  func queries(_ source: any TokenRows) -> any TokenRows {
    Rows(source: source, rotation: rotation, position: positions.query)
  }

  /// Queries as they are for sinks, likewise; nil if they are no others there.
  func queriesAtSinks(_ source: any TokenRows) -> (any TokenRows)? {
    atSinks.map { Rows(source: source, rotation: rotation, position: $0) }
  }

  /// Keys, likewise.
  func keys(_ source: any TokenRows) -> any TokenRows {
    Rows(source: source, rotation: rotation, position: positions.key, decay: decay)
  }

  /// The gradient of a query's heads as they were before.
  ///
  /// - Parameter row: `[heads · headDim]`.
  func turnedBack(
    query row: ArraySlice<Double>, headDim: Int, batch: Int, at index: Int
  ) -> [Double] {
    backwards(row, headDim: headDim, position: positions.query(batch, index))
  }

  /// That of a query's heads as they are for sinks.
  func turnedBack(
    queryAtSinks row: ArraySlice<Double>, headDim: Int, batch: Int, at index: Int
  ) -> [Double] {
    backwards(row, headDim: headDim, position: atSinks?(batch, index) ?? 0)
  }

  /// That of a key's heads.
  func turnedBack(
    key row: ArraySlice<Double>, headDim: Int, batch: Int, at index: Int
  ) -> [Double] {
    backwards(row, headDim: headDim, position: positions.key(batch, index))
  }

  private func backwards(
    _ row: ArraySlice<Double>, headDim: Int, position: Double
  ) -> [Double] {
    stride(from: row.startIndex, to: row.endIndex, by: headDim).flatMap {
      rotation.transposed(Array(row[$0..<$0 + headDim]), position: position)
    }
  }

  private struct Rows: TokenRows {
    let source: any TokenRows
    let rotation: ReferenceRotation
    let position: @Sendable (_ batch: Int, _ token: Int) -> Double
    var decay: ReferenceDecay?

    var shape: Shape { source.shape }

    func read(
      batch: Int, tokens: PositionRange, into numbers: inout MutableSpan<Float>
    ) throws {
      try source.read(batch: batch, tokens: tokens, into: &numbers)
      var start = 0
      for token in tokens {
        let factors = decay?.ofKey(token, batch: batch, columns: shape[3])
        for _ in 0..<shape[2] {
          let row = (start..<start + shape[3]).map { Double(numbers[$0]) }
          for (column, value) in rotation(row, position: position(batch, token)).enumerated() {
            numbers[start + column] = Float(value * (factors?[column] ?? 1))
          }
          start += shape[3]
        }
      }
    }
  }
}
