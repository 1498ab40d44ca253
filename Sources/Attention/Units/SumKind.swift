import Compute
import Tensors

/// A kind of sums: how what blocks contribute is added up.
///
/// A kind is one file. All else in this module asks ``Accumulation/kind``, for some rows or a leaf
/// at a time, and never which kind it is. There are two things to add up, both in one piece of
/// memory, which can travel: rows of sums, which are gradients, and partial results of queries,
/// `(rowMax, rowSum, output)`, whose merge is associative and commutative.
protocol SumKind: Sendable {
  /// Tokens at multiples of which shards are divided.
  static var granularity: Int { get }
  /// Keys whose results are summed in `Float` by themselves before they join a partial result; a
  /// multiple of ``TileSizes/keys``.
  static var leaf: Int { get }
  /// Whether rounding takes something from sums, which is kept beside their memory where they are
  /// added to.
  static var hasRemainders: Bool { get }

  // MARK: Rows of sums

  /// The bytes of rows of sums.
  static func byteCount(rows: Int, columns: Int) -> Int

  /// Adds rows of other sums, from `first` on, to as many from `row` on.
  static func add(
    _ count: Int, from first: Int, of others: SumRows, to row: Int, of sums: SumRows)

  /// Writes rows one after the other, multiplied by `factor`.
  @unsafe static func write(
    _ rows: Range<Int>, of sums: SumRows, times factor: Double,
    to target: UnsafeMutablePointer<Float>)

  // MARK: Partial results

  /// The bytes of the partial results of rows of so many outputs.
  static func resultByteCount(rows: Int, columns: Int) -> Int

  /// Makes zeros the partial results of queries that have seen nothing.
  static func startResults(_ results: ResultRows)

  /// Adds what some rows of one head have found out about a leaf.
  ///
  /// - Parameters:
  ///   - row: the first of them, `[batch, queryHeads, tokens]`.
  ///   - outputRow: the same, `[batch, tokens, queryHeads]`.
  @unsafe static func add(
    _ state: LeafState, to results: ResultRows, row: Int, outputRow: Int)

  /// Merges results of the same queries over other keys, for some tokens of `[batch, tokens]`.
  static func merge(_ tokens: Range<Int>, of others: ResultRows, into results: ResultRows)

  /// Writes the log-sum-exps of some tokens of `[batch, tokens]`; what is left is good for
  /// ``writeOutputs(_:of:to:)`` alone, and needs no remainders.
  static func writeLogSumExps(
    _ tokens: Range<Int>, of results: ResultRows, to target: LogSumExpRows)

  /// Writes outputs divided by their row sums, `[batch, tokens, queryHeads, valueHeadDim]`, to
  /// memory of zeros.
  @unsafe static func writeOutputs(
    _ tokens: Range<Int>, of results: ResultRows, to target: UnsafeMutablePointer<Float>)

  // MARK: Backward

  /// Adds what queries and keys contribute to the gradients of each other.
  static func backward(
    _ work: BackwardWork, queryGradients: SumRows, keyGradients: SumRows,
    valueGradients: SumRows, team: ThreadTeam, poll: (_ scores: Int) -> Void)

  /// What sums of key gradients are still to be multiplied by.
  static var keyGradientFactor: Double { get }
}

extension Accumulation {
  /// The file that knows how: the one place where kinds are told apart.
  var kind: any SumKind.Type {
    switch self {
    case .fast: FastSums.self
    case .reproducible: ReproducibleSums.self
    }
  }
}

/// Partial results of the queries of a shard, in memory that outlives this value.
@unsafe
struct ResultRows: @unchecked Sendable {
  /// Rows of outputs, in ``SumKind/byteCount(rows:columns:)`` bytes.
  let outputMemory: UnsafeMutableRawPointer
  /// What else there is of a result.
  let stateMemory: UnsafeMutableRawPointer
  /// As many numbers as there are outputs; nil where none are kept.
  let outputRemainders: UnsafeMutablePointer<Float>?
  /// As many numbers as there are row sums; likewise.
  let rowSumRemainders: UnsafeMutablePointer<Float>?
  let shape: AttentionShape
  let tokens: Int

  /// Rows of all heads.
  var count: Int { unsafe shape.batch * tokens * shape.queryHeads }
}

/// Where log-sum-exps go, `[batch, queryHeads, tokens]`, and what rounding takes from them.
@unsafe
struct LogSumExpRows: @unchecked Sendable {
  let rounded: UnsafeMutablePointer<Float>
  let remainders: UnsafeMutablePointer<Float>
}

extension AttentionShape {
  /// Calls `body` for every head of some tokens of `[batch, tokens]`, with the index of the row's
  /// state, `[batch, queryHeads, tokens]`, and of the first element of its output.
  @inline(__always)
  func forEachRow(
    tokens: Int, in part: Range<Int>, _ body: (_ row: Int, _ first: Int) -> Void
  ) {
    for index in part {
      let (batch, token) = index.quotientAndRemainder(dividingBy: tokens)
      for head in 0..<queryHeads {
        body(
          (batch * queryHeads + head) * tokens + token,
          (index * queryHeads + head) * valueHeadDim)
      }
    }
  }
}
