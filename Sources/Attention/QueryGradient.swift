public import Tensors

/// The gradients of one shard's queries, to which every rank whose keys they see adds, where queries
/// travel.
///
/// Like ``KeyValueGradient`` they are `Float` or reproducible sums in one piece of memory, not yet
/// multiplied by the scale. What rounding takes from `Float` while keys are gone through here is kept
/// beside that memory, and does not travel.
public struct QueryGradient: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  /// How contributions are added.
  public let accumulation: Accumulation

  /// Queries of the shard.
  public let tokens: Int

  /// `[batch, tokens, queryHeads]` rows of `headDim`; of reproducible sums the integers, then the
  /// bins.
  private let storage: AlignedBuffer<UInt8>

  /// What rounding has taken from fast sums; nothing before it is needed.
  private var remainders = AlignedBuffer<Float>(zeros: 0)

  /// Takes memory that somebody else owns and keeps for as long as this value lives.
  ///
  /// - Parameter memory: at least ``byteCount(tokens:shape:accumulation:)``, aligned to 64 bytes.
  @unsafe
  public init(
    shape: AttentionShape, tokens: Int, memory: UnsafeMutableRawBufferPointer,
    accumulation: Accumulation = .fast
  ) {
    self.shape = shape
    self.accumulation = accumulation
    self.tokens = tokens
    unsafe storage = AlignedBuffer(unowned: memory)
    precondition(byteCount <= storage.byteCount, "no room for the gradients")
  }

  /// The bytes of the gradients of `tokens` queries: 4 for a number, or 16 with 8 more for a row.
  public static func byteCount(
    tokens: Int, shape: AttentionShape, accumulation: Accumulation = .fast
  ) -> Int {
    let rows = shape.batch * tokens * shape.queryHeads
    return switch accumulation {
    case .fast: rows * shape.headDim * MemoryLayout<Float>.stride
    case .reproducible:
      ReproducibleRows.wordCount(rows: rows, columns: shape.headDim) * MemoryLayout<Int64>.stride
    }
  }

  private var byteCount: Int {
    Self.byteCount(tokens: tokens, shape: shape, accumulation: accumulation)
  }

  private var rowCount: Int { shape.batch * tokens * shape.queryHeads }

  /// Sets all gradients to zero.
  public mutating func clear() {
    unsafe storage.unsafeBaseAddress.update(repeating: 0, count: byteCount)
    remainders = AlignedBuffer(zeros: 0)
  }

  /// Adds what others have found out about the same queries.
  public mutating func add(_ other: borrowing QueryGradient) {
    precondition(
      other.tokens == tokens && other.shape == shape && other.accumulation == accumulation,
      "other queries")
    switch accumulation {
    case .fast:
      unsafe addFloats(
        rowCount * shape.headDim, from: UnsafePointer(other.fastRows), to: fastRows)
    case .reproducible:
      let (dq, others) = unsafe (reproducibleRows, other.reproducibleRows)
      for row in 0..<rowCount { unsafe dq.add(row: row, of: others, to: row) }
    }
  }

  /// `[batch, tokens, queryHeads, headDim]`; a copy.
  ///
  /// - Parameter scale: what multiplies `q·k`.
  public func dq(scale: Double) -> Tensor<Float> {
    let factor = Float(scale)
    let tensor = Tensor<Float>(zeros: [shape.batch, tokens, shape.queryHeads, shape.headDim])
    let target = unsafe tensor.unsafeBaseAddress
    switch accumulation {
    case .fast:
      let dq = unsafe fastRows
      for index in 0..<tensor.count { unsafe target[index] = dq[index] * factor }
    case .reproducible:
      unsafe reproducibleRows.write(rows: 0..<rowCount, times: Double(factor), to: target)
    }
    return tensor
  }

  /// Multiplies all gradients.
  ///
  /// - Precondition: contributions are added by ``Accumulation/fast``.
  public mutating func multiply(by scale: Double) {
    let factor = Float(scale)
    let dq = unsafe fastRows
    for index in 0..<rowCount * shape.headDim { unsafe dq[index] *= factor }
  }

  /// The rows, to move some of them, if contributions are added by ``Accumulation/fast``; valid for as
  /// long as the memory is.
  @unsafe public var grid: RowGrid {
    unsafe RowGrid(
      tokensFirst: fastRows, tokens: tokens, heads: shape.queryHeads, width: shape.headDim)
  }

  /// The rows, to be added to; valid for as long as this value is.
  @unsafe
  mutating func sums() -> QueryGradientSums {
    switch accumulation {
    case .fast:
      if remainders.count == 0 { remainders = AlignedBuffer(zeros: rowCount * shape.headDim) }
      return unsafe .fast(
        CompensatedSums(sums: fastRows, remainders: remainders.unsafeBaseAddress))
    case .reproducible: return unsafe .reproducible(reproducibleRows)
    }
  }

  @unsafe private var fastRows: UnsafeMutablePointer<Float> {
    precondition(accumulation == .fast, "reproducible sums are copied out by dq(scale:)")
    return unsafe UnsafeMutableRawPointer(storage.unsafeBaseAddress)
      .assumingMemoryBound(to: Float.self)
  }

  @unsafe private var reproducibleRows: ReproducibleRows {
    let words = unsafe UnsafeMutableRawPointer(storage.unsafeBaseAddress)
      .assumingMemoryBound(to: Int64.self)
    return unsafe ReproducibleRows(
      cells: words,
      bins: words + ReproducibleRows.cellCount(rows: rowCount, columns: shape.headDim),
      columns: shape.headDim)
  }
}
