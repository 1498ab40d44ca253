public import AttentionTypes
public import Compute
public import Tensors

/// The gradients of one shard's queries, to which every rank whose keys they see adds.
///
/// They are rows of sums in one piece of memory, its own or one that travels, not yet multiplied by
/// the scale. What rounding takes from sums while keys are gone through here is kept beside that
/// memory.
public struct QueryGradient: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  /// How contributions are added.
  public let accumulation: Accumulation

  /// Queries of the shard.
  public let tokens: Int

  /// `[batch, tokens, queryHeads]` rows of `headDim`; memory of its own, or nothing.
  private var own: AlignedBuffer<Float>
  /// The same where memory is lent.
  private let lent: AlignedBuffer<UInt8>
  private let isOwner: Bool

  /// What rounding has taken from the sums; empty before it is needed.
  private var remainders = AlignedBuffer<Float>(zeros: 0)

  /// Zeros, in memory of their own.
  public init(shape: AttentionShape, tokens: Int, accumulation: Accumulation = .fast) {
    self.shape = shape
    self.accumulation = accumulation
    self.tokens = tokens
    let byteCount = Self.byteCount(tokens: tokens, shape: shape, accumulation: accumulation)
    own = AlignedBuffer(zeros: byteCount / MemoryLayout<Float>.stride)
    lent = AlignedBuffer(zeros: 0)
    isOwner = true
  }

  /// Takes memory that somebody else owns and keeps for as long as this value lives.
  ///
  /// - Parameter memory: at least ``byteCount(tokens:shape:accumulation:)``, aligned as floats are.
  @unsafe
  public init(
    shape: AttentionShape, tokens: Int, memory: UnsafeMutableRawBufferPointer,
    accumulation: Accumulation = .fast
  ) {
    self.shape = shape
    self.accumulation = accumulation
    self.tokens = tokens
    own = AlignedBuffer(zeros: 0)
    unsafe lent = AlignedBuffer(unowned: memory)
    isOwner = false
    precondition(byteCount <= lent.byteCount, "no room for the gradients")
  }

  /// The bytes of the gradients of `tokens` queries: 4 for a number, or 16 with 8 more for a row.
  public static func byteCount(
    tokens: Int, shape: AttentionShape, accumulation: Accumulation = .fast
  ) -> Int {
    accumulation.kind.byteCount(
      rows: shape.batch * tokens * shape.queryHeads, columns: shape.headDim)
  }

  private var byteCount: Int {
    Self.byteCount(tokens: tokens, shape: shape, accumulation: accumulation)
  }

  private var rowCount: Int { shape.batch * tokens * shape.queryHeads }

  /// Sets all gradients to zero.
  ///
  /// - Precondition: the memory is lent.
  public mutating func clear(team: ThreadTeam = ThreadTeam(threads: 1)) {
    precondition(!isOwner, "gradients in memory of their own begin as zeros")
    lent.clear(byteCount, team: team)
    remainders = AlignedBuffer(zeros: 0)
  }

  /// Adds what others have found out about the same queries.
  ///
  /// - Complexity: O(gradients), shared among the threads.
  public mutating func add(
    _ other: borrowing QueryGradient, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    precondition(
      other.tokens == tokens && other.shape == shape && other.accumulation == accumulation,
      "other queries")
    unsafe rows.add(other.rows, by: accumulation.kind, team: team)
  }

  /// `[batch, tokens, queryHeads, headDim]`; what is there is no longer of use.
  ///
  /// - Parameter scale: what multiplies `q·k`.
  public mutating func dq(
    scale: Double, team: ThreadTeam = ThreadTeam(threads: 1)
  ) -> Tensor<Float> {
    let count = rowCount * shape.headDim
    // Sums of the size of what becomes of them are multiplied where they lie.
    let isInPlace = isOwner && own.count == count
    var dq = AlignedBuffer<Float>(zeros: isInPlace ? 0 : count)
    unsafe rows.write(
      times: Double(Float(scale)), to: isInPlace ? own.unsafeBaseAddress : dq.unsafeBaseAddress,
      by: accumulation.kind, team: team)
    if isInPlace { swap(&dq, &own) }
    return Tensor(shape: [shape.batch, tokens, shape.queryHeads, shape.headDim], buffer: dq)
  }

  /// Multiplies all gradients.
  ///
  /// - Precondition: contributions are added by ``Accumulation/fast``.
  public mutating func multiply(by scale: Double, team: ThreadTeam = ThreadTeam(threads: 1)) {
    let rows = unsafe fastRows
    unsafe rows.write(
      times: Double(Float(scale)), to: rows.floats, by: accumulation.kind, team: team)
  }

  /// The rows, to move some of them, if contributions are added by ``Accumulation/fast``; valid for
  /// as long as the memory is.
  @unsafe public var grid: RowGrid {
    unsafe RowGrid(
      tokensFirst: fastRows.floats, tokens: tokens, heads: shape.queryHeads, width: shape.headDim)
  }

  /// The rows, to have terms added to them; valid for as long as this value is.
  @unsafe
  mutating func growingRows() -> SumRows {
    if accumulation.kind.hasRemainders, remainders.count != rowCount * shape.headDim {
      remainders = AlignedBuffer(zeros: rowCount * shape.headDim)
    }
    var rows = unsafe rows
    if accumulation.kind.hasRemainders { unsafe rows.remainders = remainders.unsafeBaseAddress }
    return unsafe rows
  }

  @unsafe private var rows: SumRows {
    unsafe SumRows(
      memory: isOwner
        ? UnsafeMutableRawPointer(own.unsafeBaseAddress)
        : UnsafeMutableRawPointer(lent.unsafeBaseAddress),
      count: rowCount, columns: shape.headDim)
  }

  @unsafe private var fastRows: SumRows {
    precondition(accumulation == .fast, "reproducible sums are copied out by dq(scale:team:)")
    return unsafe rows
  }
}
