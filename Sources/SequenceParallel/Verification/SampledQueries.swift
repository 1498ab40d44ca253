import MPI
import Sharding

/// Some rows of queries as keys meet them: first keys may meet other ones than later keys do, and
/// with a decay each key does.
struct SampledQueries: Sendable {
  /// `[tokens][heads · headDim]`.
  private let rows: [[Double]]
  /// The same for the first keys; nil if they meet the same.
  private let atSinks: [[Double]]?
  private let turning: ReferencePositions?
  /// What is still to be done to rows that decay.
  private var change: (@Sendable ([Double]) -> [Double])?

  /// Takes rows as they were turned.
  init(rows: [[Double]], atSinks: [[Double]]?, turning: ReferencePositions?) {
    (self.rows, self.atSinks, self.turning) = (rows, atSinks, turning)
  }

  /// Those of sampled tokens, called by all ranks together.
  init(
    of queries: Sharding, _ source: some TokenRows, turnedBy turning: ReferencePositions?,
    batch: Int, positions sampled: [Int], on world: borrowing Communicator
  ) throws {
    self.turning = turning
    let turned: any TokenRows = turning?.queries(source) ?? source
    rows = try queries.share(turned, batch: batch, positions: sampled, on: world)
    if let first = turning?.queriesAtSinks(source) {
      atSinks = try queries.share(first, batch: batch, positions: sampled, on: world)
    } else {
      atSinks = nil
    }
  }

  /// Whether a key is one of the first, which meet other rows.
  func isSink(_ key: Int) -> Bool { key < turning?.sinkCount ?? 0 }

  /// What a key meets of a row.
  ///
  /// - Parameters:
  ///   - row: which one.
  ///   - vector: which part of it, of so many columns.
  ///   - query: the index of its token.
  func vector(
    _ row: Int, _ vector: Int, columns: Int, batch: Int, query: Int, meeting key: Int
  ) -> ArraySlice<Double> {
    let rows = isSink(key) ? atSinks ?? rows : rows
    let plain = rows[row].vector(vector, count: columns)
    guard let factors = turning?.factors(batch: batch, query: query, key: key, columns: columns)
    else { return plain }
    let decayed = zip(plain, factors).map { $0 * $1 }
    return (change?(decayed) ?? decayed)[...]
  }

  /// Every number changed, as it is multiplied.
  func map(_ change: @escaping @Sendable ([Double]) -> [Double]) -> SampledQueries {
    if turning?.decay != nil {
      var later = self
      later.change = change
      return later
    }
    return SampledQueries(
      rows: rows.map(change), atSinks: atSinks.map { $0.map(change) }, turning: turning)
  }
}

extension ReferencePositions {
  /// What multiplies the columns of a query as it meets a key; nil if nothing does.
  func factors(batch: Int, query: Int, key: Int, columns: Int) -> [Double]? {
    decay?.ofQuery(
      at: position(ofQuery: query, batch, meeting: key), meeting: key, batch: batch,
      columns: columns)
  }
}

extension ReferencePositions? {
  /// The gradient of a query before it decayed, from that of the query as it met a key.
  func undecayed(
    query gradient: ArraySlice<Double>, batch: Int, query: Int, key: Int
  ) -> ArraySlice<Double> {
    guard
      let factors = self?.factors(
        batch: batch, query: query, key: key, columns: gradient.count)
    else { return gradient }
    return zip(gradient, factors).map { $0 * $1 }[...]
  }

  /// That of a key.
  func undecayed(
    key gradient: ArraySlice<Double>, batch: Int, _ key: Int
  ) -> ArraySlice<Double> {
    guard let decay = self?.decay else { return gradient }
    let factors = decay.ofKey(key, batch: batch, columns: gradient.count)
    return zip(gradient, factors).map { $0 * $1 }[...]
  }
}
