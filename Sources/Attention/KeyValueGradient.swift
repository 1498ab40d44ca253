import Glibc
public import Tensors

/// The gradients of a block's keys and values, to which every rank that sees the block adds.
///
/// They are `Float`, or reproducible sums, whatever the block's element type is, and lie in rows,
/// not in panels: nothing computes on them but additions. Like the block they are one piece of
/// memory, which travels.
public struct KeyValueGradient: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  /// How contributions are added.
  public let accumulation: Accumulation

  /// Keys of the block.
  public private(set) var keyCount: Int

  /// `dk`, then `dv`; with reproducible sums the integers of both, then the bins of both.
  private var storage: AlignedBuffer<UInt8>

  /// Creates zeros for a block of `keys` keys.
  ///
  /// - Parameters:
  ///   - capacity: the most keys that it will ever be used for; at least `keys`.
  ///   - accumulation: that of the accumulators that add to it.
  public init(
    shape: AttentionShape, keys: Int, capacity: Int? = nil, accumulation: Accumulation = .fast
  ) {
    self.shape = shape
    self.accumulation = accumulation
    keyCount = keys
    storage = AlignedBuffer(
      zeros: Self.byteCount(
        keys: max(keys, capacity ?? keys), shape: shape, accumulation: accumulation))
  }

  /// Takes memory that somebody else owns and keeps for as long as this value lives.
  ///
  /// - Parameter memory: at least ``byteCount(keys:shape:accumulation:)``, aligned to 64 bytes.
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
    return switch accumulation {
    case .fast: rows * (shape.headDim + shape.valueHeadDim) * MemoryLayout<Float>.stride
    case .reproducible:
      (ReproducibleRows.wordCount(rows: rows, columns: shape.headDim)
        + ReproducibleRows.wordCount(rows: rows, columns: shape.valueHeadDim))
        * MemoryLayout<Int64>.stride
    }
  }

  /// The bytes of the gradients, which are what travels.
  public var byteCount: Int {
    Self.byteCount(keys: keyCount, shape: shape, accumulation: accumulation)
  }

  private var rowCount: Int { shape.batch * keyCount * shape.kvHeads }

  /// `[batch, keys, kvHeads, headDim]`, keys in the order of the block's runs; a copy.
  public func dk() -> Tensor<Float> {
    switch accumulation {
    case .fast: unsafe copy(of: keyRows, columns: shape.headDim)
    // The queries that it was computed from have log₂e.
    case .reproducible:
      unsafe copy(of: reproducibleKeyRows, columns: shape.headDim, factor: M_LN2)
    }
  }

  /// `[batch, keys, kvHeads, valueHeadDim]`, keys in the order of the block's runs; a copy.
  public func dv() -> Tensor<Float> {
    switch accumulation {
    case .fast: unsafe copy(of: valueRows, columns: shape.valueHeadDim)
    case .reproducible:
      unsafe copy(of: reproducibleValueRows, columns: shape.valueHeadDim, factor: 1)
    }
  }

  @unsafe
  private func copy(of rows: UnsafeMutablePointer<Float>, columns: Int) -> Tensor<Float> {
    let rows = unsafe Span(_unsafeStart: rows, count: rowCount * columns)
    return Tensor(
      shape: [shape.batch, keyCount, shape.kvHeads, columns], buffer: AlignedBuffer(copying: rows))
  }

  @unsafe
  private func copy(of rows: ReproducibleRows, columns: Int, factor: Double) -> Tensor<Float> {
    let tensor = Tensor<Float>(zeros: [shape.batch, keyCount, shape.kvHeads, columns])
    unsafe rows.write(rows: 0..<rowCount, times: factor, to: tensor.unsafeBaseAddress)
    return tensor
  }

  /// Declares that gradients of another block are about to be held here.
  ///
  /// - Precondition: they fit.
  public mutating func replaceKeyCount(_ keys: Int) {
    keyCount = keys
    precondition(byteCount <= storage.byteCount, "no room for the gradients of \(keys) keys")
  }

  /// Sets all gradients to zero.
  public mutating func clear() {
    unsafe storage.unsafeBaseAddress.update(repeating: 0, count: byteCount)
  }

  /// Adds what others have found out about the same block.
  public mutating func add(_ other: borrowing KeyValueGradient) {
    precondition(
      other.keyCount == keyCount && other.shape == shape && other.accumulation == accumulation,
      "another block")
    switch accumulation {
    case .fast:
      unsafe addFloats(
        rowCount * (shape.headDim + shape.valueHeadDim), from: UnsafePointer(other.keyRows),
        to: keyRows)
    case .reproducible:
      for row in 0..<rowCount {
        unsafe reproducibleKeyRows.add(row: row, of: other.reproducibleKeyRows, to: row)
        unsafe reproducibleValueRows.add(row: row, of: other.reproducibleValueRows, to: row)
      }
    }
  }

  /// The bytes of the gradients, which are what travels.
  ///
  /// The address stays the same for the life of the value.
  @unsafe
  public var unsafeBytes: UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(rebasing: storage.unsafeMutableBytes[0..<byteCount])
  }

  // MARK: Rows

  /// The rows of `dk`, to move some of them, if contributions are added by ``Accumulation/fast``; valid
  /// for as long as the memory is.
  @unsafe public var keyGrid: RowGrid { unsafe grid(keyRows, width: shape.headDim) }

  /// The rows of `dv`, likewise.
  @unsafe public var valueGrid: RowGrid { unsafe grid(valueRows, width: shape.valueHeadDim) }

  @unsafe
  private func grid(_ rows: UnsafeMutablePointer<Float>, width: Int) -> RowGrid {
    precondition(accumulation == .fast, "reproducible sums are copied out by dk() and dv()")
    return unsafe RowGrid(tokensFirst: rows, tokens: keyCount, heads: shape.kvHeads, width: width)
  }

  /// The first element of `dk`.
  @unsafe var keyRows: UnsafeMutablePointer<Float> {
    unsafe UnsafeMutableRawPointer(storage.unsafeBaseAddress).assumingMemoryBound(to: Float.self)
  }

  /// The first element of `dv`.
  @unsafe var valueRows: UnsafeMutablePointer<Float> {
    unsafe keyRows + rowCount * shape.headDim
  }

  /// `dk` as reproducible sums; lacks a factor ln 2.
  @unsafe var reproducibleKeyRows: ReproducibleRows {
    unsafe ReproducibleRows(cells: words, bins: bins, columns: shape.headDim)
  }

  /// `dv` as reproducible sums.
  @unsafe var reproducibleValueRows: ReproducibleRows {
    unsafe ReproducibleRows(
      cells: words + ReproducibleRows.cellCount(rows: rowCount, columns: shape.headDim),
      bins: bins + rowCount, columns: shape.valueHeadDim)
  }

  @unsafe private var words: UnsafeMutablePointer<Int64> {
    unsafe UnsafeMutableRawPointer(storage.unsafeBaseAddress).assumingMemoryBound(to: Int64.self)
  }

  @unsafe private var bins: UnsafeMutablePointer<Int64> {
    unsafe words
      + ReproducibleRows.cellCount(rows: rowCount, columns: shape.headDim + shape.valueHeadDim)
  }
}

/// Adds `count` numbers to others.
@unsafe
func addFloats(
  _ count: Int, from source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>
) {
  var index = 0
  while index + Vector.width <= count {
    unsafe Vector(loading: source, at: index).add(to: target, at: index)
    index += Vector.width
  }
  while index < count {
    unsafe target[index] += source[index]
    index += 1
  }
}
