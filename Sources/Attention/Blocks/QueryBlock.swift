public import AttentionTypes
public import Compute
public import Tensors

/// The queries of one shard in one piece of memory: the unit that travels where keys and values
/// stay.
///
/// It holds `q` `[batch, tokens, queryHeads, headDim]`, and for the backward pass also `do`
/// `[batch, tokens, queryHeads, valueHeadDim]` and three numbers a row: the log-sum-exp, what
/// rounding took from it, and `Δ = Σ do ∘ o`. All are `Float`: nothing is rounded on the way.
public struct QueryBlock: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  /// The global positions of the queries, in the order of the rows.
  public let runs: [PositionRange]

  /// What the block has all it needs for.
  public let pass: AttentionPass

  private let storage: AlignedBuffer<UInt8>

  /// Takes a block, or room for one, in memory that somebody else owns and keeps for as long as
  /// this value lives.
  ///
  /// - Parameter memory: at least ``byteCount(tokens:shape:pass:)``, aligned as floats are.
  @unsafe
  public init(
    shape: AttentionShape, runs: [PositionRange], pass: AttentionPass,
    memory: UnsafeMutableRawBufferPointer
  ) {
    self.shape = shape
    self.runs = runs
    self.pass = pass
    unsafe storage = AlignedBuffer(unowned: memory)
    precondition(
      Self.byteCount(tokens: tokens, shape: shape, pass: pass) <= storage.byteCount,
      "no room for the queries")
  }

  /// The bytes of a block: 4 for each of `headDim` numbers a row, or of
  /// `headDim + valueHeadDim + 3` for the backward pass.
  public static func byteCount(tokens: Int, shape: AttentionShape, pass: AttentionPass) -> Int {
    let row = shape.headDim + (pass == .backward ? shape.valueHeadDim + 3 : 0)
    return shape.batch * tokens * shape.queryHeads * row * MemoryLayout<Float>.stride
  }

  /// The queries that the block holds.
  public var tokens: Int { runs.reduce(0) { $0 + $1.count } }

  private var rowCount: Int { shape.batch * tokens * shape.queryHeads }

  /// Puts queries in, for the forward pass.
  public mutating func load(
    _ queries: borrowing QueryShard, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    precondition(
      queries.tensor.shape == [shape.batch, tokens, shape.queryHeads, shape.headDim],
      "queries of another problem")
    unsafe copy(
      queries.tensor.unsafeBaseAddress, to: base, count: rowCount * shape.headDim, team)
  }

  /// Puts queries in, for the backward pass.
  ///
  /// - Parameters:
  ///   - output: what the forward pass gave for them, over all keys.
  ///   - outputGradient: `do`, of the shape of `o`.
  ///   - arithmetic: that of the backward pass.
  public mutating func load(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, arithmetic: Arithmetic = .f32,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    precondition(pass == .backward, "a block of the forward pass")
    load(queries, team: team)
    unsafe statistics.fill(
      shape: shape, output: output, outputGradient: outputGradient, arithmetic: arithmetic,
      team: team)
    unsafe copy(
      outputGradient.unsafeBaseAddress, to: outputGradientRows,
      count: rowCount * shape.valueHeadDim, team)
  }

  @unsafe
  private func copy(
    _ source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>, count: Int,
    _ team: ThreadTeam
  ) {
    nonisolated(unsafe) let source = unsafe source
    nonisolated(unsafe) let target = unsafe target
    team.forEachPart(of: count) { part in
      unsafe (target + part.lowerBound).update(
        from: source + part.lowerBound, count: part.count)
    }
  }

  // MARK: Rows

  /// The queries, to move some of them; valid for as long as the memory is.
  @unsafe public var queryGrid: RowGrid { unsafe grid(base, width: shape.headDim) }

  /// The rows of `do`, in a block of the backward pass.
  @unsafe public var outputGradientGrid: RowGrid {
    unsafe grid(outputGradientRows, width: shape.valueHeadDim)
  }

  /// The three numbers a row of a block of the backward pass: the log-sum-exp, its remainder, and
  /// Δ.
  @unsafe public var statisticGrids: [RowGrid] {
    let statistics = unsafe statistics
    return unsafe [statistics.lse, statistics.lseRemainder, statistics.delta].map {
      unsafe RowGrid(headsFirst: $0, heads: shape.queryHeads, tokens: tokens)
    }
  }

  @unsafe
  private func grid(_ rows: UnsafeMutablePointer<Float>, width: Int) -> RowGrid {
    precondition(pass == .backward || width == shape.headDim, "a block of the forward pass")
    return unsafe RowGrid(
      tokensFirst: rows, tokens: tokens, heads: shape.queryHeads, width: width)
  }

  /// All rows; of the forward pass there are only the queries.
  @unsafe var rows: BackwardRows {
    guard pass == .backward else {
      return unsafe BackwardRows(
        queries: base, outputGradient: base, lse: base, lseRemainder: base, delta: base)
    }
    let statistics = unsafe statistics
    return unsafe BackwardRows(
      queries: base, outputGradient: outputGradientRows, lse: statistics.lse,
      lseRemainder: statistics.lseRemainder, delta: statistics.delta)
  }

  @unsafe private var base: UnsafeMutablePointer<Float> {
    unsafe UnsafeMutableRawPointer(storage.unsafeBaseAddress).assumingMemoryBound(to: Float.self)
  }

  @unsafe private var outputGradientRows: UnsafeMutablePointer<Float> {
    unsafe base + rowCount * shape.headDim
  }

  @unsafe private var statistics: BackwardStatistics {
    let first = unsafe outputGradientRows + rowCount * shape.valueHeadDim
    return unsafe BackwardStatistics(
      lse: first, lseRemainder: first + rowCount, delta: first + 2 * rowCount)
  }
}
