import MPI
import Sharding

/// Some rows of queries as keys meet them: first keys may meet other ones than later keys do.
struct SampledQueries: Sendable {
  /// `[tokens][heads · headDim]`.
  let rows: [[Double]]
  /// The same for the first keys; nil if they meet the same.
  let atSinks: [[Double]]?
  /// How many those are.
  let sinkCount: Int

  /// Takes both.
  init(rows: [[Double]], atSinks: [[Double]]?, sinkCount: Int) {
    (self.rows, self.atSinks, self.sinkCount) = (rows, atSinks, sinkCount)
  }

  /// Those of sampled tokens, called by all ranks together.
  init(
    of queries: Sharding, _ source: some TokenRows, turnedBy positions: ReferencePositions?,
    batch: Int, positions sampled: [Int], on world: borrowing Communicator
  ) throws {
    let turned: any TokenRows = positions?.queries(source) ?? source
    rows = try queries.share(turned, batch: batch, positions: sampled, on: world)
    if let first = positions?.queriesAtSinks(source) {
      atSinks = try queries.share(first, batch: batch, positions: sampled, on: world)
    } else {
      atSinks = nil
    }
    sinkCount = positions?.sinkCount ?? 0
  }

  /// The row that a key meets.
  func row(_ index: Int, for key: Int) -> [Double] {
    key < sinkCount ? atSinks?[index] ?? rows[index] : rows[index]
  }

  /// Every row changed.
  func map(_ change: ([Double]) -> [Double]) -> SampledQueries {
    SampledQueries(
      rows: rows.map(change), atSinks: atSinks.map { $0.map(change) }, sinkCount: sinkCount)
  }
}
