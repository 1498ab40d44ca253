import Glibc
import Tensors

/// What some of the keys do to the outputs of one shard's queries, to be merged with what others do.
///
/// Like ``QueryBlock`` it is one piece of memory, which travels. A row is `(rowMax, rowSum, output)`
/// in `Float`, the output not divided by the row sum, or reproducible sums of both. What rounding
/// takes from the sums while keys are added here is kept beside that memory, and does not travel:
/// each rank that a row visits rounds it once.
public struct ForwardPartial: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  /// How blocks are added.
  public let accumulation: Accumulation

  /// Queries of the shard.
  public let tokens: Int

  /// `[batch, tokens, queryHeads, valueHeadDim]`, then maxima in base 2 and sums, both `[batch,
  /// queryHeads, tokens]`; with reproducible sums the integers of outputs and row sums, both
  /// `[batch, queryHeads, tokens]` rows, then the bins of both.
  private let storage: AlignedBuffer<UInt8>

  /// Of fast sums.
  private var remainders: RowRemainders

  /// Takes memory that somebody else owns and keeps for as long as this value lives; what is there
  /// is taken for a state unless it is cleared.
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
    remainders = RowRemainders(
      rows: shape.batch * tokens * shape.queryHeads, columns: shape.valueHeadDim)
    precondition(byteCount <= storage.byteCount, "no room for the outputs")
  }

  /// The bytes of the state of `tokens` queries: a row of `valueHeadDim + 2` numbers of 4 bytes, or
  /// of `valueHeadDim + 1` of 16 and 16 more.
  public static func byteCount(
    tokens: Int, shape: AttentionShape, accumulation: Accumulation = .fast
  ) -> Int {
    let rows = shape.batch * tokens * shape.queryHeads
    return switch accumulation {
    case .fast: rows * (shape.valueHeadDim + 2) * MemoryLayout<Float>.stride
    case .reproducible:
      (ReproducibleRows.wordCount(rows: rows, columns: shape.valueHeadDim)
        + ReproducibleRows.wordCount(rows: rows, columns: 1)) * MemoryLayout<Int64>.stride
    }
  }

  private var byteCount: Int {
    Self.byteCount(tokens: tokens, shape: shape, accumulation: accumulation)
  }

  private var rowCount: Int { shape.batch * tokens * shape.queryHeads }

  /// Makes it the state of queries that have seen nothing.
  public mutating func clear() {
    unsafe storage.unsafeBaseAddress.update(repeating: 0, count: byteCount)
    if accumulation == .fast {
      unsafe fastRows.rowMax.update(repeating: -.infinity, count: rowCount)
    }
    remainders = RowRemainders(rows: rowCount, columns: shape.valueHeadDim)
  }

  /// Merges what other keys do to the same queries.
  public mutating func add(_ other: borrowing ForwardPartial) {
    precondition(
      other.tokens == tokens && other.shape == shape && other.accumulation == accumulation,
      "other queries")
    switch accumulation {
    case .fast: unsafe fastRows.merge(other.fastRows, shape: shape, tokens: tokens)
    case .reproducible:
      let (rows, others) = unsafe (reproducibleRows, other.reproducibleRows)
      for row in 0..<rowCount {
        unsafe rows.outputs.add(row: row, of: others.outputs, to: row)
        unsafe rows.rowSums.add(row: row, of: others.rowSums, to: row)
      }
    }
  }

  /// Divides by the row sums; a copy.
  ///
  /// - Returns: as ``ForwardAccumulator/finish()``.
  public func output() -> AttentionOutput {
    switch accumulation {
    case .fast:
      unsafe FastForwardSums(shape: shape, tokens: tokens, copying: fastRows).finish(remainders)
    case .reproducible: unsafe reproducibleRows.output(shape: shape, tokens: tokens)
    }
  }

  /// Divides by the row sums in place: what is there then are outputs and log-sum-exps, and no longer
  /// a state.
  ///
  /// - Precondition: contributions are added by ``Accumulation/fast``.
  public mutating func divide() {
    unsafe fastRows.divide(shape: shape, tokens: tokens, remainders)
  }

  // MARK: Rows

  /// Outputs after ``divide()``, to move some of them; valid for as long as the memory is.
  @unsafe public var outputGrid: RowGrid {
    unsafe RowGrid(
      tokensFirst: fastRows.output, tokens: tokens, heads: shape.queryHeads,
      width: shape.valueHeadDim)
  }

  /// The natural-log log-sum-exp after ``divide()``, and what rounding took from it; likewise.
  @unsafe public var logSumExpGrids: [RowGrid] {
    let rows = unsafe fastRows
    return unsafe [rows.rowMax, rows.rowSum].map {
      unsafe RowGrid(headsFirst: $0, heads: shape.queryHeads, tokens: tokens)
    }
  }

  /// The rows, to be added to; valid for as long as this value is.
  @unsafe
  mutating func state() -> ForwardState {
    switch accumulation {
    case .fast:
      remainders.reserve()
      return unsafe .fast(CompensatedRowState(fastRows, remainders))
    case .reproducible: return unsafe .reproducible(reproducibleRows)
    }
  }

  @unsafe private var fastRows: RowState {
    precondition(accumulation == .fast, "reproducible sums are divided by output()")
    let output = unsafe UnsafeMutableRawPointer(storage.unsafeBaseAddress)
      .assumingMemoryBound(to: Float.self)
    let rowMax = unsafe output + rowCount * shape.valueHeadDim
    return unsafe RowState(
      rowMax: rowMax, rowSum: rowMax + rowCount, output: output,
      outputStride: shape.queryHeads * shape.valueHeadDim)
  }

  @unsafe private var reproducibleRows: ReproducibleState {
    let words = unsafe UnsafeMutableRawPointer(storage.unsafeBaseAddress)
      .assumingMemoryBound(to: Int64.self)
    let sums =
      unsafe words + ReproducibleRows.cellCount(rows: rowCount, columns: shape.valueHeadDim)
    let bins = unsafe sums + ReproducibleRows.cellCount(rows: rowCount, columns: 1)
    return unsafe ReproducibleState(
      outputs: ReproducibleRows(cells: words, bins: bins, columns: shape.valueHeadDim),
      rowSums: ReproducibleRows(cells: sums, bins: bins + rowCount, columns: 1))
  }
}

extension RowState {
  /// Merges the state of the same rows over other keys by online softmax.
  ///
  /// Whether a row has seen a key is asked of its sum, which is at least 1 then: with maxima of −∞ on
  /// both sides a difference would be NaN.
  fileprivate func merge(_ other: RowState, shape: AttentionShape, tokens: Int) {
    shape.forEachRow(tokens: tokens) { row, first in
      let (ownSum, otherSum) = unsafe (rowSum[row], other.rowSum[row])
      if otherSum == 0 { return }
      let (ownMax, otherMax) = unsafe (rowMax[row], other.rowMax[row])
      let newMax = ownSum == 0 ? otherMax : max(ownMax, otherMax)
      let ownFactor = ownSum == 0 ? 0 : exp2(ownMax - newMax)
      let otherFactor = exp2(otherMax - newMax)
      unsafe rowMax[row] = newMax
      unsafe rowSum[row] = ownSum * ownFactor + otherSum * otherFactor
      unsafe combine(
        output + first, times: ownFactor, with: other.output + first, times: otherFactor,
        count: shape.valueHeadDim)
    }
  }
}

/// `a = a · f + b · g`.
@unsafe
private func combine(
  _ a: UnsafeMutablePointer<Float>, times f: Float, with b: UnsafePointer<Float>, times g: Float,
  count: Int
) {
  var index = 0
  while index + Vector.width <= count {
    let own = unsafe Vector(loading: a, at: index) * f
    unsafe own.addingProduct(Vector(loading: b, at: index), Vector(repeating: g))
      .store(to: a, at: index)
    index += Vector.width
  }
  while index < count {
    unsafe a[index] = (a[index] * f).addingProduct(b[index], g)
    index += 1
  }
}
