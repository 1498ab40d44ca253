public import Tensors

/// The gradients of one shard's queries, to which every rank whose keys they see adds, where queries
/// travel.
///
/// Like ``KeyValueGradient`` they are `Float` or reproducible sums in one piece of memory, not yet
/// multiplied by the scale.
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
  }

  /// Adds what others have found out about the same queries.
  public mutating func add(_ other: borrowing QueryGradient) {
    precondition(
      other.tokens == tokens && other.shape == shape && other.accumulation == accumulation,
      "other queries")
    switch unsafe (sums, other.sums) {
    case (.fast(let dq), .fast(let others)):
      unsafe addFloats(rowCount * shape.headDim, from: UnsafePointer(others), to: dq)
    case (.reproducible(let dq), .reproducible(let others)):
      for row in 0..<rowCount { unsafe dq.add(row: row, of: others, to: row) }
    default: preconditionFailure("another accumulation")
    }
  }

  /// `[batch, tokens, queryHeads, headDim]`; a copy.
  ///
  /// - Parameter scale: what multiplies `q·k`.
  public func dq(scale: Double) -> Tensor<Float> {
    let factor = Float(scale)
    let tensor = Tensor<Float>(zeros: [shape.batch, tokens, shape.queryHeads, shape.headDim])
    let target = unsafe tensor.unsafeBaseAddress
    switch unsafe sums {
    case .fast(let dq):
      for index in 0..<tensor.count { unsafe target[index] = dq[index] * factor }
    case .reproducible(let dq):
      unsafe dq.write(rows: 0..<rowCount, times: Double(factor), to: target)
    }
    return tensor
  }

  /// Multiplies all gradients.
  ///
  /// - Precondition: contributions are added by ``Accumulation/fast``.
  public mutating func multiply(by scale: Double) {
    let factor = Float(scale)
    let dq = unsafe fastSums
    for index in 0..<rowCount * shape.headDim { unsafe dq[index] *= factor }
  }

  /// The rows, to move some of them, if contributions are added by ``Accumulation/fast``; valid for as
  /// long as the memory is.
  @unsafe public var grid: RowGrid {
    unsafe RowGrid(
      tokensFirst: fastSums, tokens: tokens, heads: shape.queryHeads, width: shape.headDim)
  }

  @unsafe private var fastSums: UnsafeMutablePointer<Float> {
    guard case .fast(let dq) = unsafe sums else {
      preconditionFailure("reproducible sums are copied out by dq(scale:)")
    }
    return unsafe dq
  }

  /// The rows; valid for as long as the memory is.
  @unsafe var sums: QueryGradientSums {
    let base = unsafe UnsafeMutableRawPointer(storage.unsafeBaseAddress)
    switch accumulation {
    case .fast: return unsafe .fast(base.assumingMemoryBound(to: Float.self))
    case .reproducible:
      let words = unsafe base.assumingMemoryBound(to: Int64.self)
      return unsafe .reproducible(
        ReproducibleRows(
          cells: words,
          bins: words + ReproducibleRows.cellCount(rows: rowCount, columns: shape.headDim),
          columns: shape.headDim))
    }
  }
}
