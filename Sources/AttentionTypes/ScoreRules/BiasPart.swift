import Compute
public import Tensors

/// What a process holds of a bias `[batch or 1, queryHeads or 1, tokens, keyTokens]`: the rows of
/// some queries over some keys, and their gradients if they are wanted.
///
/// Sequences and heads that share a bias read the same numbers. Their gradients are kept apart and
/// added up at the end, in a fixed order: many threads find them at a time. Those of several
/// backward passes are added up, as where keys or queries are computed in parts.
@safe
public final class BiasPart: @unchecked Sendable {
  /// Sequences that have biases of their own, 1 if they share one.
  public let batch: Int
  /// Query heads that have biases of their own, of those of the whole tensor; `0..<1` if all share
  /// one.
  public let heads: Range<Int>
  /// The queries, in the order of the rows.
  public let queries: [PositionRange]
  /// The keys, in the order of the columns.
  public let keys: [PositionRange]
  /// Whether gradients are kept.
  public let collectsGradients: Bool

  private let shape: Shape
  private let sharesHeads: Bool
  /// Sequences and query heads that are computed.
  private let computed: (batch: Int, heads: Range<Int>)
  private let rowCount: Int
  private let columns: Int
  /// `[batch][heads][queries][keys]`, and a vector more, which is loaded and not used.
  private let values: AlignedBuffer<Float>
  /// `[computed batch][computed heads][queries][keys]`.
  private let gradients: AlignedBuffer<Float>
  /// `[batch][queries][keys]`, added up over the heads of all processes, if that is done.
  private var joined: [Float] = []
  /// Whether its sums are over all heads: false where another process has added them up.
  public private(set) var isWhole = true

  /// Makes room, of zeros.
  ///
  /// - Parameters:
  ///   - shape: of the whole tensor.
  ///   - batch: sequences that are computed.
  ///   - heads: query heads that are computed.
  public init(
    of shape: Shape, batch: Int, heads: Range<Int>, queries: [PositionRange],
    keys: [PositionRange], collectsGradients: Bool
  ) {
    self.shape = shape
    self.batch = shape[0]
    sharesHeads = shape[1] == 1
    self.heads = shape[1] == 1 ? 0..<1 : heads
    computed = (batch, heads)
    self.queries = queries
    self.keys = keys
    self.collectsGradients = collectsGradients
    rowCount = queries.reduce(0) { $0 + $1.count }
    columns = keys.reduce(0) { $0 + $1.count }
    values = AlignedBuffer(zeros: self.batch * self.heads.count * rowCount * columns + Vector.width)
    gradients = AlignedBuffer(
      zeros: collectsGradients ? batch * heads.count * rowCount * columns : 0)
  }

  /// The bytes of a part.
  public static func byteCount(
    of shape: Shape, batch: Int, heads: Range<Int>, queries: [PositionRange],
    keys: [PositionRange], collectsGradients: Bool
  ) -> Double {
    func count(_ runs: [PositionRange]) -> Double { runs.reduce(0) { $0 + Double($1.count) } }
    let matrices =
      Double(shape[0]) * Double(shape[1] == 1 ? 1 : heads.count)
      + (collectsGradients ? Double(batch * heads.count + (shape[1] == 1 ? shape[0] : 0)) : 0)
    return 4 * matrices * count(queries) * count(keys)
  }

  /// The number of a row among all rows of the whole tensor.
  public func matrixRow(_ batch: Int, _ head: Int, _ query: Int) -> Int {
    (batch * shape[1] + head) * shape[2] + query
  }

  // MARK: Filling and reading

  /// Lends the numbers of some neighbouring rows, to be filled.
  ///
  /// - Parameters:
  ///   - batch: of ``batch``.
  ///   - head: of ``heads``.
  ///   - rows: indices of queries.
  ///   - columns: indices of keys; all of them if there are several rows.
  ///   - body: is given `[rows.count, columns.count]`.
  public func fill(
    batch: Int, head: Int, rows: Range<Int>, columns part: Range<Int>,
    _ body: (inout MutableSpan<Float>) throws -> Void
  ) rethrows {
    precondition(rows.count == 1 || part.count == columns, "rows are not neighbours")
    let first = place(batch, head - heads.lowerBound, of: heads.count, rows.lowerBound)
    let count = rows.count * part.count
    precondition(first + part.lowerBound + count <= values.count, "no such rows")
    var span = unsafe MutableSpan(
      _unsafeStart: values.unsafeBaseAddress + first + part.lowerBound, count: count)
    try body(&span)
  }

  /// Forgets the gradients of earlier passes.
  public func clearGradients() {
    for index in 0..<gradients.count { unsafe gradients.unsafeBaseAddress[index] = 0 }
  }

  /// The gradients of a row, added up over the sequences and heads that share it.
  ///
  /// - Parameters:
  ///   - batch: of ``batch``.
  ///   - head: of ``heads``.
  ///   - row: index of a query.
  /// - Returns: `[keys]`.
  public func gradientRow(batch: Int, head: Int, row: Int) -> [Float] {
    if !joined.isEmpty {
      let first = (batch * rowCount + row) * columns
      return Array(joined[first..<first + columns])
    }
    var sums = [Double](repeating: 0, count: columns)
    addGradients(
      batch: batch, heads: sharesHeads ? computed.heads : head..<head + 1, row, to: &sums)
    return sums.map { Float($0) }
  }

  /// Adds the gradients of a row to sums, head by head, and of each sequence by sequence.
  private func addGradients(batch: Int, heads: Range<Int>, _ row: Int, to sums: inout [Double]) {
    for head in heads {
      for sequence in self.batch == 1 ? 0..<computed.batch : batch..<batch + 1 {
        let first = place(
          sequence, head - computed.heads.lowerBound, of: computed.heads.count, row)
        for column in 0..<columns {
          unsafe sums[column] += Double(gradients.unsafeBaseAddress[first + column])
        }
      }
    }
  }

  /// Whether all heads share one bias.
  public var isOfAllHeads: Bool { sharesHeads }

  /// Rows of all sequences that have biases of their own.
  public var sharedRowCount: Int { batch * rowCount }

  /// Numbers of a row.
  public var columnCount: Int { columns }

  /// Adds the gradients of a row of a bias that all heads share, over the heads of this process.
  ///
  /// - Parameter row: of ``sharedRowCount``.
  public func addSharedGradients(ofRow row: Int, to sums: inout [Double]) {
    let (batch, own) = row.quotientAndRemainder(dividingBy: max(1, rowCount))
    addGradients(batch: batch, heads: computed.heads, own, to: &sums)
  }

  /// Takes the sums over the heads of all processes, or leaves them to another one.
  ///
  /// - Parameter sums: `[sharedRowCount][columnCount]`; nil if another process has them.
  public func join(_ sums: [Float]?) {
    precondition(sums.map { $0.count == sharedRowCount * columns } ?? true, "sums of other rows")
    (joined, isWhole) = (sums ?? [], sums != nil)
  }

  private func place(_ batch: Int, _ head: Int, of heads: Int, _ row: Int) -> Int {
    ((batch * heads + head) * rowCount + row) * columns
  }

  // MARK: Tiles

  /// Whether it has the first pair of a tile, and so all of them.
  func has(_ place: ScorePlace) -> Bool {
    computed.heads.contains(place.head) && queries.index(of: place.query) != nil
      && keys.index(of: place.firstKey) != nil
  }

  /// Where the rows of a tile lie.
  struct Rows {
    let values: Values
    /// Of the first pair among all.
    let first: Int
    /// Of the first pair in a matrix.
    let offset: Int
    let rowStep: Int
    let columnStep: Int
  }

  /// Numbers by their places.
  struct Values {
    fileprivate let part: BiasPart
    subscript(_ place: Int) -> Float { unsafe part.values.unsafeBaseAddress[place] }
  }

  /// Finds a tile, which lies in one run of queries and one of keys.
  func rows(of place: ScorePlace, queryStride: Int) -> Rows {
    guard let row = queries.index(of: place.query),
      let column = keys.index(of: place.firstKey)
    else { preconditionFailure("the tile of another part") }
    let head = sharesHeads ? 0 : place.head - heads.lowerBound
    let matrix = self.place(batch == 1 ? 0 : place.batch, head, of: heads.count, 0)
    let offset = row.index * columns + column.index
    return Rows(
      values: Values(part: self), first: matrix + offset, offset: offset,
      rowStep: queryStride / row.stride * columns,
      columnStep: max(1, place.keyStride / column.stride))
  }

  /// Neighbouring numbers.
  @inline(__always)
  func vector(at place: Int, step: Int, count: Int) -> Vector {
    if step == 1 { return unsafe Vector(loading: values.unsafeBaseAddress, at: place) }
    var vector = Vector()
    for lane in 0..<min(Vector.width, count) {
      unsafe vector[lane] = values.unsafeBaseAddress[place + lane * step]
    }
    return vector
  }

  /// Adds the gradients of a row of a tile, which a pass computes but once.
  @unsafe
  func setGradients(
    _ source: UnsafePointer<Float>, batch: Int, head: Int, offset: Int, step: Int, count: Int
  ) {
    let target =
      unsafe gradients.unsafeBaseAddress
      + place(batch, head - computed.heads.lowerBound, of: computed.heads.count, 0) + offset
    for column in 0..<count { unsafe target[column * step] += source[column] }
  }
}

extension [PositionRange] {
  /// The index of a token among those of some runs, and how far apart neighbours of its run are.
  func index(of position: Int) -> (index: Int, stride: Int)? {
    var first = 0
    for run in self {
      if run.contains(position) {
        return (first + (position - run.start) / run.stride, run.stride)
      }
      first += run.count
    }
    return nil
  }
}
