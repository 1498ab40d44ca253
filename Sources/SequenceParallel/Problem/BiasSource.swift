public import Tensors

/// A bias `[batch or 1, queryHeads or 1, tokens, keyTokens]` that can be read anywhere, some rows
/// at a time.
///
/// Several threads may read at a time.
public protocol BiasSource: Sendable {
  /// `[batch or 1, queryHeads or 1, tokens, keyTokens]`.
  var shape: Shape { get }

  /// Reads whole rows of one matrix.
  ///
  /// - Parameter numbers: `[queries.count, keyTokens]`.
  func read(
    batch: Int, head: Int, queries: PositionRange, into numbers: inout MutableSpan<Float>) throws

  /// Reads a part of one row.
  ///
  /// - Parameter numbers: `[keys.count]`.
  func read(
    batch: Int, head: Int, query: Int, keys: PositionRange, into numbers: inout MutableSpan<Float>
  ) throws
}

/// A tensor in a file; elements that are not finite are refused.
extension TensorSource: BiasSource {
  /// Reads whole rows of one matrix.
  public func read(
    batch: Int, head: Int, queries: PositionRange, into numbers: inout MutableSpan<Float>
  ) throws {
    try read(
      RowSlice(queries, axis: 2, outerIndex: batch * shape[1] + head), into: &numbers)
  }

  /// Reads a part of one row.
  public func read(
    batch: Int, head: Int, query: Int, keys: PositionRange, into numbers: inout MutableSpan<Float>
  ) throws {
    try read(
      RowSlice(keys, axis: 3, outerIndex: (batch * shape[1] + head) * shape[2] + query),
      into: &numbers)
  }
}

/// Standard-normal numbers, a function of seed and place alone.
public struct RandomBias: BiasSource {
  /// `[batch or 1, queryHeads or 1, tokens, keyTokens]`.
  public let shape: Shape
  private let numbers: RandomNormal

  /// Describes a random bias; `tensor` tells it apart from other tensors of the seed.
  public init(shape: Shape, seed: UInt64, tensor: UInt64) {
    precondition(shape.rank == 4, "[batch or 1, queryHeads or 1, tokens, keyTokens]")
    self.shape = shape
    numbers = RandomNormal(seed: seed, tensor: tensor)
  }

  /// Generates whole rows.
  public func read(
    batch: Int, head: Int, queries: PositionRange, into numbers: inout MutableSpan<Float>
  ) {
    for (index, query) in queries.enumerated() {
      var row = numbers.part(index * shape[3]..<(index + 1) * shape[3])
      read(
        batch: batch, head: head, query: query, keys: PositionRange(0..<shape[3]), into: &row)
    }
  }

  /// Generates a part of a row.
  public func read(
    batch: Int, head: Int, query: Int, keys: PositionRange, into numbers: inout MutableSpan<Float>
  ) {
    let row = ((batch * shape[1] + head) * shape[2] + query) * shape[3]
    if keys.isContiguous { return self.numbers.fill(&numbers, from: row + keys.start) }
    for (index, key) in keys.enumerated() {
      var one = numbers.part(index..<index + 1)
      self.numbers.fill(&one, from: row + key)
    }
  }
}
