public import AttentionTypes
public import Compute
public import Tensors

/// The gradients of a block's keys and values, to which every rank that sees the block adds.
///
/// They are rows of sums, whatever the block's element type is, not panels: nothing computes on
/// them but additions. Like the block they are one piece of memory, which travels.
public struct KeyValueGradient: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  /// How contributions are added.
  public let accumulation: Accumulation

  /// Keys of the block.
  public let keyCount: Int

  /// Rows of `dk`, then rows of `dv`.
  private let storage: AlignedBuffer<UInt8>

  /// Creates zeros for a block of `keys` keys.
  ///
  /// - Parameter accumulation: that of the accumulators that add to it.
  public init(shape: AttentionShape, keys: Int, accumulation: Accumulation = .fast) {
    self.shape = shape
    self.accumulation = accumulation
    keyCount = keys
    storage = AlignedBuffer(
      zeros: Self.byteCount(keys: keys, shape: shape, accumulation: accumulation))
  }

  /// Takes memory that somebody else owns and keeps for as long as this value lives.
  ///
  /// - Parameter memory: at least ``byteCount(keys:shape:accumulation:)``, aligned as floats are.
  @unsafe
  public init(
    shape: AttentionShape, keys: Int, memory: UnsafeMutableRawBufferPointer,
    accumulation: Accumulation = .fast
  ) {
    self.shape = shape
    self.accumulation = accumulation
    keyCount = keys
    unsafe storage = AlignedBuffer(unowned: memory)
    precondition(byteCount <= storage.byteCount, "no room for the gradients")
  }

  /// The bytes of the gradients of `keys` keys: 4 for a number, or 16 with 16 more for a key of a
  /// head.
  public static func byteCount(
    keys: Int, shape: AttentionShape, accumulation: Accumulation = .fast
  ) -> Int {
    let rows = shape.batch * keys * shape.kvHeads
    let kind = accumulation.kind
    return kind.byteCount(rows: rows, columns: shape.headDim)
      + kind.byteCount(rows: rows, columns: shape.valueHeadDim)
  }

  /// The bytes of the gradients, which are what travels.
  public var byteCount: Int {
    Self.byteCount(keys: keyCount, shape: shape, accumulation: accumulation)
  }

  private var rowCount: Int { shape.batch * keyCount * shape.kvHeads }

  /// `[batch, keys, kvHeads, headDim]`, keys in the order of the block's runs; a copy.
  public func dk(team: ThreadTeam = ThreadTeam(threads: 1)) -> Tensor<Float> {
    unsafe copy(of: keyRows, times: accumulation.kind.keyGradientFactor, team)
  }

  /// `[batch, keys, kvHeads, valueHeadDim]`, keys in the order of the block's runs; a copy.
  public func dv(team: ThreadTeam = ThreadTeam(threads: 1)) -> Tensor<Float> {
    unsafe copy(of: valueRows, times: 1, team)
  }

  private func copy(of rows: SumRows, times factor: Double, _ team: ThreadTeam) -> Tensor<Float> {
    let tensor = Tensor<Float>(
      zeros: [shape.batch, keyCount, shape.kvHeads, unsafe rows.columns])
    unsafe rows.write(
      times: factor, to: tensor.unsafeBaseAddress, by: accumulation.kind, team: team)
    return tensor
  }

  /// Writes `dk` to where these keys are in a tensor of more.
  ///
  /// - Parameters:
  ///   - tensor: `[batch, keys, kvHeads, headDim]`.
  ///   - keys: which of its keys these are.
  package func writeKeys(
    to tensor: inout Tensor<Float>, at keys: Range<Int>, team: ThreadTeam
  ) {
    unsafe write(keyRows, times: accumulation.kind.keyGradientFactor, to: &tensor, at: keys, team)
  }

  /// Writes `dv` to where these keys are in a tensor of more.
  package func writeValues(
    to tensor: inout Tensor<Float>, at keys: Range<Int>, team: ThreadTeam
  ) {
    unsafe write(valueRows, times: 1, to: &tensor, at: keys, team)
  }

  private func write(
    _ rows: SumRows, times factor: Double, to tensor: inout Tensor<Float>, at keys: Range<Int>,
    _ team: ThreadTeam
  ) {
    let columns = unsafe rows.columns
    precondition(
      tensor.shape.rank == 4 && tensor.shape[0] == shape.batch && keys.count == keyCount
        && keys.upperBound <= tensor.shape[1] && tensor.shape[2] == shape.kvHeads
        && tensor.shape[3] == columns, "gradients of another shape")
    for batch in 0..<shape.batch {
      let first = batch * keyCount * shape.kvHeads
      let target = (batch * tensor.shape[1] + keys.lowerBound) * shape.kvHeads * columns
      unsafe rows.write(
        first..<first + keyCount * shape.kvHeads, times: factor,
        to: tensor.unsafeBaseAddress + target, by: accumulation.kind, team: team)
    }
  }

  /// Sets all gradients to zero.
  public mutating func clear(team: ThreadTeam = ThreadTeam(threads: 1)) {
    storage.clear(byteCount, team: team)
  }

  /// Adds what others have found out about the same block.
  ///
  /// - Complexity: O(gradients), shared among the threads.
  public mutating func add(
    _ other: borrowing KeyValueGradient, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    precondition(
      other.keyCount == keyCount && other.shape == shape && other.accumulation == accumulation,
      "another block")
    unsafe keyRows.add(other.keyRows, by: accumulation.kind, team: team)
    unsafe valueRows.add(other.valueRows, by: accumulation.kind, team: team)
  }

  // MARK: Rows

  /// The rows of `dk`, to move some of them, if contributions are added by ``Accumulation/fast``;
  /// valid for as long as the memory is.
  @unsafe public var keyGrid: RowGrid { unsafe grid(keyRows) }

  /// The rows of `dv`, likewise.
  @unsafe public var valueGrid: RowGrid { unsafe grid(valueRows) }

  private func grid(_ rows: SumRows) -> RowGrid {
    precondition(accumulation == .fast, "reproducible sums are copied out by dk() and dv()")
    return unsafe RowGrid(
      tokensFirst: rows.floats, tokens: keyCount, heads: shape.kvHeads, width: rows.columns)
  }

  /// `dk`, to be multiplied by ``SumKind/keyGradientFactor``.
  @unsafe var keyRows: SumRows {
    unsafe SumRows(
      memory: UnsafeMutableRawPointer(storage.unsafeBaseAddress), count: rowCount,
      columns: shape.headDim)
  }

  /// `dv`.
  @unsafe var valueRows: SumRows {
    unsafe SumRows(
      memory: UnsafeMutableRawPointer(storage.unsafeBaseAddress)
        + accumulation.kind.byteCount(rows: rowCount, columns: shape.headDim),
      count: rowCount, columns: shape.valueHeadDim)
  }
}
