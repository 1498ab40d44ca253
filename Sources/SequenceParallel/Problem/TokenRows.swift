public import Attention
public import Tensors

/// A tensor `[batch, tokens, heads, headDim]` whose rows can be read anywhere, a few at a time: a
/// file, a generator, memory.
///
/// No rank ever reads more than its own shard. Several threads may read at a time.
public protocol TokenRows: Sendable {
  /// `[batch, tokens, heads, headDim]`.
  var shape: Shape { get }

  /// Reads the rows of some tokens of one sequence.
  ///
  /// - Parameters:
  ///   - batch: the sequence.
  ///   - tokens: global positions.
  ///   - numbers: `[tokens.count, heads, headDim]`.
  /// - Throws: what the source throws, for example if an element is not finite.
  func read(batch: Int, tokens: PositionRange, into numbers: inout MutableSpan<Float>) throws
}

extension TokenRows {
  /// Elements of the row of one token: heads times head dim.
  public var rowLength: Int { shape[2] * shape[3] }

  /// Reads the rows of some tokens of one sequence by several threads.
  ///
  /// - Parameters:
  ///   - batch: the sequence.
  ///   - tokens: global positions.
  ///   - numbers: `[tokens.count, heads, headDim]`.
  ///   - team: reads.
  /// - Throws: what the source throws, for the first rows that it refuses.
  public func read(
    batch: Int, tokens: PositionRange, into numbers: inout MutableSpan<Float>, team: ThreadTeam
  ) throws {
    // Long enough for a system call, and to be in cache when it is widened and checked.
    try team.forEachPart(of: &numbers, rowLength: rowLength, partLength: 1 << 16) { part, rows in
      try read(batch: batch, tokens: tokens.slice(rows), into: &part)
    }
  }

  /// Reads the rows of a shard.
  ///
  /// - Returns: `[batch, tokens of the shard, heads, headDim]`, in the order of the runs.
  public func read(
    shard runs: [PositionRange], team: ThreadTeam = ThreadTeam(threads: 1)
  ) throws -> Tensor<Float> {
    let tokens = runs.reduce(0) { $0 + $1.count }
    var tensor = Tensor<Float>(zeros: [shape[0], tokens, shape[2], shape[3]])
    var numbers = tensor.mutableSpan
    try read(shard: runs, into: &numbers, team: team)
    return tensor
  }

  /// Reads the rows of a shard into memory that is there.
  ///
  /// - Parameter numbers: `[batch, tokens of the shard, heads, headDim]`.
  public func read(
    shard runs: [PositionRange], into numbers: inout MutableSpan<Float>,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) throws {
    var start = 0
    for batch in 0..<shape[0] {
      for run in runs {
        let end = start + run.count * rowLength
        var part = numbers.part(start..<end)
        try read(batch: batch, tokens: run, into: &part, team: team)
        start = end
      }
    }
  }
}

/// A tensor in a file.
extension TensorSource: TokenRows {
  /// Reads rows from the file; refuses elements that are not finite.
  public func read(
    batch: Int, tokens: PositionRange, into numbers: inout MutableSpan<Float>
  ) throws {
    try read(RowSlice(tokens, axis: 1, outerIndex: batch), into: &numbers)
  }
}

/// Standard-normal numbers, a function of seed, tensor and place alone, so that every rank of any
/// number of ranks sees the same tensor.
public struct RandomRows: TokenRows {
  /// `[batch, tokens, heads, headDim]`.
  public let shape: Shape
  private let numbers: RandomNormal

  /// Describes a random tensor.
  ///
  /// - Parameters:
  ///   - shape: `[batch, tokens, heads, headDim]`.
  ///   - seed: another seed gives independent numbers.
  ///   - tensor: tells the tensors of one seed apart.
  public init(shape: Shape, seed: UInt64, tensor: UInt64) {
    precondition(shape.rank == 4, "[batch, tokens, heads, headDim]")
    self.shape = shape
    numbers = RandomNormal(seed: seed, tensor: tensor)
  }

  /// Generates rows.
  public func read(
    batch: Int, tokens: PositionRange, into numbers: inout MutableSpan<Float>
  ) {
    let first = (batch * shape[1] + tokens.start) * rowLength
    if tokens.isContiguous { return self.numbers.fill(&numbers, from: first) }
    for index in tokens.indices {
      var row = numbers.part(index * rowLength..<(index + 1) * rowLength)
      self.numbers.fill(&row, from: first + index * tokens.stride * rowLength)
    }
  }
}
