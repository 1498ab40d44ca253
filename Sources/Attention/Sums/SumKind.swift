import AttentionTypes

/// A kind of sums: how what blocks contribute is added up.
///
/// A kind is one file, and one of the kernels where leaves are added. All else in this module asks
/// ``Accumulation/kind``, for some rows at a time, and never which kind it is. There are two things
/// to add up, both in one piece of memory, which can travel: rows of sums, which are gradients, and
/// partial results of queries, `(rowMax, rowSum, output)`, whose merge is associative and
/// commutative.
protocol SumKind: Sendable {
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
