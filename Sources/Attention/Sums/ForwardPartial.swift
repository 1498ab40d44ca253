public import AttentionTypes
public import Compute
import Tensors

/// What some of the keys do to the outputs of one shard's queries, to be merged with what others
/// do: the state of online softmax, `(rowMax, rowSum, output)` a row, the output not divided by the
/// row sum.
///
/// It is one piece of memory, its own or one that travels. What rounding takes from sums while keys
/// are added here is kept beside that memory: each rank that a row visits rounds it once.
public struct ForwardPartial: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  /// How blocks are added.
  public let accumulation: Accumulation

  /// Queries of the shard.
  public let tokens: Int

  /// Whether memory is its own, and what is lent otherwise.
  private let isOwner: Bool
  private let lent: AlignedBuffer<UInt8>
  /// Memory of its own: outputs, which can be given away, and the rest.
  private var ownOutputs: AlignedBuffer<Float>
  private let ownStates: AlignedBuffer<Float>
  /// What rounding has taken from outputs and from row sums; empty before it is needed.
  private var outputRemainders = AlignedBuffer<Float>(zeros: 0)
  private var rowSumRemainders = AlignedBuffer<Float>(zeros: 0)

  /// The results of queries that have seen nothing, in memory of its own.
  public init(shape: AttentionShape, tokens: Int, accumulation: Accumulation = .fast) {
    self.shape = shape
    self.accumulation = accumulation
    self.tokens = tokens
    isOwner = true
    lent = AlignedBuffer(zeros: 0)
    let rows = shape.batch * tokens * shape.queryHeads
    let kind = accumulation.kind
    let outputBytes = kind.byteCount(rows: rows, columns: shape.valueHeadDim)
    let byteCount = kind.resultByteCount(rows: rows, columns: shape.valueHeadDim)
    ownOutputs = AlignedBuffer(zeros: outputBytes / MemoryLayout<Float>.stride)
    ownStates = AlignedBuffer(zeros: (byteCount - outputBytes) / MemoryLayout<Float>.stride)
    unsafe kind.startResults(self.rows)
  }

  /// Takes memory that somebody else owns and keeps for as long as this value lives; what is there
  /// is taken for results unless it is cleared.
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
    isOwner = false
    unsafe lent = AlignedBuffer(unowned: memory)
    ownOutputs = AlignedBuffer(zeros: 0)
    ownStates = AlignedBuffer(zeros: 0)
    precondition(byteCount <= lent.byteCount, "no room for the outputs")
  }

  /// The bytes of the results of `tokens` queries: a row of `valueHeadDim + 2` numbers of 4 bytes,
  /// or of `valueHeadDim + 1` of 16 and 16 more.
  public static func byteCount(
    tokens: Int, shape: AttentionShape, accumulation: Accumulation = .fast
  ) -> Int {
    accumulation.kind.resultByteCount(
      rows: shape.batch * tokens * shape.queryHeads, columns: shape.valueHeadDim)
  }

  private var byteCount: Int {
    Self.byteCount(tokens: tokens, shape: shape, accumulation: accumulation)
  }

  private var rowCount: Int { shape.batch * tokens * shape.queryHeads }

  /// Makes it the results of queries that have seen nothing.
  ///
  /// - Precondition: the memory is lent.
  public mutating func clear(team: ThreadTeam = ThreadTeam(threads: 1)) {
    precondition(!isOwner, "results in memory of their own begin as nothing")
    lent.clear(byteCount, team: team)
    unsafe accumulation.kind.startResults(rows)
    outputRemainders = AlignedBuffer(zeros: 0)
    rowSumRemainders = AlignedBuffer(zeros: 0)
  }

  /// Merges what other keys do to the same queries.
  ///
  /// - Complexity: O(outputs), shared among the threads.
  public mutating func add(
    _ other: borrowing ForwardPartial, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    precondition(
      other.tokens == tokens && other.shape == shape && other.accumulation == accumulation,
      "other queries")
    let kind = accumulation.kind
    let (rows, others) = unsafe (rows, other.rows)
    forEachPart(team) { unsafe kind.merge($0, of: others, into: rows) }
  }

  /// Divides by the row sums; what is there is no longer of use.
  ///
  /// - Returns: `o` `[batch, tokens, queryHeads, valueHeadDim]` and `lse`
  ///   `[batch, queryHeads, tokens]` in natural-log units. A row that saw no key has output 0 and
  ///   log-sum-exp −∞.
  /// - Complexity: O(outputs), shared among the threads.
  public mutating func output(team: ThreadTeam = ThreadTeam(threads: 1)) -> AttentionOutput {
    let kind = accumulation.kind
    let rows = unsafe rows
    let states: Shape = [shape.batch, shape.queryHeads, tokens]
    let lse = Tensor<Float>(zeros: states)
    let lseRemainder = Tensor<Float>(zeros: states)
    let target = unsafe LogSumExpRows(
      rounded: lse.unsafeBaseAddress, remainders: lseRemainder.unsafeBaseAddress)
    forEachPart(team) { unsafe kind.writeLogSumExps($0, of: rows, to: target) }
    let count = rowCount * shape.valueHeadDim
    // Sums of the size of what becomes of them are divided where they lie.
    let isInPlace = isOwner && ownOutputs.count == count
    var o = AlignedBuffer<Float>(zeros: isInPlace ? 0 : count)
    nonisolated(unsafe) let outputs =
      unsafe isInPlace ? ownOutputs.unsafeBaseAddress : o.unsafeBaseAddress
    forEachPart(team) { unsafe kind.writeOutputs($0, of: rows, to: outputs) }
    if isInPlace { swap(&o, &ownOutputs) }
    return AttentionOutput(
      o: Tensor(shape: [shape.batch, tokens, shape.queryHeads, shape.valueHeadDim], buffer: o),
      lse: lse, lseRemainder: lseRemainder)
  }

  /// Divides by the row sums in place: what is there then are outputs and log-sum-exps, and no
  /// longer results that can be merged.
  ///
  /// - Precondition: contributions are added by ``Accumulation/fast``.
  public mutating func divide(team: ThreadTeam = ThreadTeam(threads: 1)) {
    let rows = unsafe fastRows
    forEachPart(team) { unsafe FastSums.divide($0, of: rows) }
  }

  /// Cuts the tokens of all sequences into parts.
  private func forEachPart(_ team: ThreadTeam, _ body: @Sendable (Range<Int>) -> Void) {
    team.forEachPart(
      of: shape.batch * tokens, cost: shape.queryHeads * (shape.valueHeadDim + 2), body)
  }

  // MARK: Rows

  /// Outputs after ``divide(team:)``, to move some of them; valid for as long as the memory is.
  @unsafe public var outputGrid: RowGrid {
    unsafe RowGrid(
      tokensFirst: fastRows.outputs, tokens: tokens, heads: shape.queryHeads,
      width: shape.valueHeadDim)
  }

  /// The natural-log log-sum-exp after ``divide(team:)``, and what rounding took from it; likewise.
  @unsafe public var logSumExpGrids: [RowGrid] {
    let rows = unsafe fastRows
    return unsafe [rows.rowMax, rows.rowSums].map {
      unsafe RowGrid(headsFirst: $0, heads: shape.queryHeads, tokens: tokens)
    }
  }

  /// The rows, to have leaves added to them; valid for as long as this value is.
  @unsafe
  mutating func growingRows() -> ResultRows {
    if accumulation.kind.hasRemainders, rowSumRemainders.count != rowCount {
      outputRemainders = AlignedBuffer(zeros: rowCount * shape.valueHeadDim)
      rowSumRemainders = AlignedBuffer(zeros: rowCount)
    }
    return unsafe rows
  }

  /// The rows; valid for as long as this value is.
  @unsafe var rows: ResultRows {
    let keeps = rowSumRemainders.count > 0
    let outputs =
      unsafe isOwner
      ? UnsafeMutableRawPointer(ownOutputs.unsafeBaseAddress)
      : UnsafeMutableRawPointer(lent.unsafeBaseAddress)
    let outputBytes = accumulation.kind.byteCount(rows: rowCount, columns: shape.valueHeadDim)
    return unsafe ResultRows(
      outputMemory: outputs,
      stateMemory: isOwner
        ? UnsafeMutableRawPointer(ownStates.unsafeBaseAddress) : outputs + outputBytes,
      outputRemainders: keeps ? outputRemainders.unsafeBaseAddress : nil,
      rowSumRemainders: keeps ? rowSumRemainders.unsafeBaseAddress : nil, shape: shape,
      tokens: tokens)
  }

  @unsafe private var fastRows: ResultRows {
    precondition(accumulation == .fast, "reproducible sums are divided by output()")
    return unsafe rows
  }
}

extension AlignedBuffer<UInt8> {
  /// Sets the first `count` bytes to zero.
  func clear(_ count: Int, team: ThreadTeam) {
    nonisolated(unsafe) let base = unsafe unsafeBaseAddress
    // Four bytes are a number.
    team.forEachPart(of: (count + 3) / 4) { part in
      let first = part.lowerBound * 4
      unsafe (base + first).update(repeating: 0, count: min(part.upperBound * 4, count) - first)
    }
  }
}
