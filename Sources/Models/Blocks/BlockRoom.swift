import Attention
import Compute
import KernelSets
import Tensors

/// Memory for one chunk of tokens of a layer, used for all chunks of all layers in turn.
///
/// The widest rows of a decoder, queries, keys and values together, or both hidden parts of a
/// feed-forward layer, are there for a chunk only: what a long sequence takes does not grow with
/// them.
///
/// Source: Liu and Abbeel 2023, Blockwise Parallel Transformer.
struct BlockRoom {
  /// The most tokens of a chunk.
  let chunk: Int
  /// `[chunk, width]`: the input of a product, normalised; or its result before it is added.
  let normalised: ReusedNumbers
  /// `[chunk, widest]`: the result of a product.
  let projected: ReusedNumbers
  /// `[chunk, hidden]`: the hidden part; keys, then values, too.
  let hidden: ReusedNumbers
  private let products: LinearProducts
  /// What products are computed of; nil for `Float` in the way that suits their rows.
  var arithmetic: ProductArithmetic?
  /// Who shares the products of few tokens; nil where every rank computes them.
  var division: WeightDivision?
  let team: ThreadTeam

  init(_ sizes: Decoder.Sizes, chunk: Int, team: ThreadTeam) {
    self.chunk = chunk
    self.team = team
    normalised = ReusedNumbers(count: chunk * sizes.width)
    projected = ReusedNumbers(count: Self.projectedCount(sizes, chunk: chunk))
    hidden = ReusedNumbers(count: Self.hiddenCount(sizes, chunk: chunk))
    products = LinearProducts(team: team)
  }

  /// Of a chunk, or of a token whose experts are multiplied by together.
  private static func projectedCount(_ sizes: Decoder.Sizes, chunk: Int) -> Int {
    let widest = max(
      sizes.queryWidth + 2 * sizes.keyWidth, 2 * sizes.hidden, sizes.width, sizes.experts)
    return max(chunk * widest, 2 * sizes.hidden * sizes.expertsOfToken)
  }

  /// Likewise; the rows of an expert's tokens are gathered in it first.
  private static func hiddenCount(_ sizes: Decoder.Sizes, chunk: Int) -> Int {
    let widest = max(sizes.hidden, 2 * sizes.keyWidth, sizes.experts > 0 ? sizes.width : 0)
    return max(chunk * widest, sizes.hidden * sizes.expertsOfToken)
  }

  /// The bytes of the room and of the scratch of its products.
  static func byteCount(
    _ sizes: Decoder.Sizes, chunk: Int, arithmetic: ProductArithmetic
  ) -> Int {
    4
      * (chunk * sizes.width + projectedCount(sizes, chunk: chunk)
        + hiddenCount(sizes, chunk: chunk))
      + LinearProducts.scratchBytes(
        rows: chunk, inputs: max(sizes.hidden, sizes.width, sizes.queryWidth),
        arithmetic: arithmetic)
  }

  /// Multiplies rows, shared among ranks where that is done and there are few.
  ///
  /// - Parameters: as in `LinearProducts`.
  func multiply(
    _ a: borrowing Span<Float>, rows: Int, by matrices: [StoredMatrix],
    into c: inout MutableSpan<Float>, adding: Bool = false
  ) {
    if let division, rows <= WeightDivision.mostRows {
      division.multiply(
        a, rows: rows, by: matrices, with: products, of: arithmetic, into: &c, adding: adding)
    } else {
      products.multiply(a, rows: rows, by: matrices, into: &c, adding: adding, of: arithmetic)
    }
  }

  /// Multiplies rows, each rank all of them.
  func multiplyAlone(
    _ a: borrowing Span<Float>, rows: Int, by matrices: [StoredMatrix],
    into c: inout MutableSpan<Float>
  ) {
    products.multiply(a, rows: rows, by: matrices, into: &c, of: arithmetic)
  }

  /// Adds numbers to the only row of all, each rank computing some of them where products of a row
  /// are shared.
  ///
  /// - Parameter body: is given a stretch, and as many zeros to be written.
  func addShared(
    to row: inout MutableSpan<Float>,
    _ body: (_ columns: Range<Int>, _ target: inout MutableSpan<Float>) -> Void
  ) {
    if let division { return division.share(rows: 1, into: &row, adding: true, body) }
    var sums = [Float](repeating: 0, count: row.count)
    var span = sums.mutableSpan
    body(0..<row.count, &span)
    team.add(span.span, to: &row)
  }

  /// Normalises rows into ``normalised``.
  func normalise(_ rows: borrowing Span<Float>, by norm: Norm) {
    normalised.write(0..<rows.count) { target in
      norm.kind.apply(
        rows, weights: norm.weights.span, bias: norm.bias.span, into: &target, team: team)
    }
  }
}

/// Numbers that are written and read again and again; whoever uses them takes them out meanwhile.
final class ReusedNumbers {
  private var buffer: AlignedBuffer<Float>?

  init(count: Int) { buffer = AlignedBuffer(zeros: count) }

  /// Lends some of them to be written.
  func write(_ range: Range<Int>, _ body: (inout MutableSpan<Float>) -> Void) {
    guard var numbers = buffer.take() else { preconditionFailure("in use") }
    Self.lend(&numbers, range, body)
    buffer = consume numbers
  }

  private static func lend(
    _ numbers: inout AlignedBuffer<Float>, _ range: Range<Int>,
    _ body: (inout MutableSpan<Float>) -> Void
  ) {
    var all = numbers.mutableSpan
    var part = all.part(range)
    body(&part)
  }

  /// Lends some of them to be read.
  func read(_ range: Range<Int>, _ body: (borrowing Span<Float>) -> Void) {
    guard let numbers = buffer.take() else { preconditionFailure("in use") }
    Self.show(numbers, range, body)
    buffer = consume numbers
  }

  private static func show(
    _ numbers: borrowing AlignedBuffer<Float>, _ range: Range<Int>,
    _ body: (borrowing Span<Float>) -> Void
  ) {
    body(numbers.span.extracting(range))
  }
}
