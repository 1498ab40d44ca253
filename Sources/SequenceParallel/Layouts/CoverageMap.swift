package import Attention
package import Sharding
import Tensors

/// How much the queries of each rank see of the keys of each: the picture of a plan, ranks by
/// blocks.
///
/// Of many ranks neighbours are put together.
package struct CoverageMap: Sendable {
  /// The most rows and columns.
  package static let mostBands = 64

  /// The ranks of each row, and of each column.
  package let bands: [Range<Int>]
  /// For the queries of each band, for the keys of each.
  package let cells: [[Coverage]]

  /// Asks about all pairs of bands.
  ///
  /// - Complexity: at most a question for each pair of their runs; as soon as some are seen and
  ///   some are not, no more.
  package init(_ pattern: any AttentionPattern, queries: Sharding, keys: Sharding) {
    let ranks = queries.ranks
    let count = min(ranks, Self.mostBands)
    bands = (0..<count).map { $0 * ranks / count..<($0 + 1) * ranks / count }
    let rows = bands.map { Band(queries.shards[$0]) }
    let columns = bands.map { Band(keys.shards[$0]) }
    cells = rows.map { row in columns.map { row.coverage(of: $0, through: pattern) } }
  }

  /// Runs, and all positions between the first and the last.
  private struct Band {
    let runs: [PositionRange]
    let hull: PositionRange

    init(_ shards: ArraySlice<[PositionRange]>) {
      runs = shards.flatMap { $0 }
      let start = runs.reduce(.max) { min($0, $1.start) }
      let end = runs.reduce(0) { max($0, ($1.last ?? -1) + 1) }
      hull = PositionRange(start: min(start, end), count: max(0, end - start))
    }

    func coverage(of keys: Band, through pattern: any AttentionPattern) -> Coverage {
      if runs.isEmpty || keys.runs.isEmpty { return .none }
      let whole = pattern.coverage(keys: keys.hull, queries: hull)
      if whole != .some { return whole }
      var (isSeen, isHidden) = (false, false)
      for query in runs {
        for key in keys.runs {
          switch pattern.coverage(keys: key, queries: query) {
          case .all: isSeen = true
          case .none: isHidden = true
          case .some: return .some
          }
          if isSeen && isHidden { return .some }
        }
      }
      return isSeen ? .all : .none
    }
  }
}

/// A mask as squares of some queries by as many keys: what its picture is made of.
package struct MaskRaster: Sendable {
  /// The most squares along a side.
  package static let mostSquares = 192

  /// Queries, or keys, along the side of a square.
  package let side: Int
  /// For the queries of each square from the first on, for the keys of each.
  package let squares: [[Coverage]]
  /// For each row, who holds most of its queries; nil where nobody holds more than half.
  package let queryOwners: [Int?]
  /// For each column, who holds most of its keys.
  package let keyOwners: [Int?]

  /// Asks about every square, and where the pattern is unsure about a small one, about each pair.
  package init(_ pattern: any AttentionPattern, queries: Sharding, keys: Sharding) {
    let longest = max(1, queries.tokens, keys.tokens)
    let side = (longest + Self.mostSquares - 1) / Self.mostSquares
    self.side = side
    func parts(_ tokens: Int) -> [PositionRange] {
      stride(from: 0, to: tokens, by: side).map {
        PositionRange($0..<min(tokens, $0 + side))
      }
    }
    let columns = parts(keys.tokens)
    squares = parts(queries.tokens).map { rows in
      columns.map { pattern.sharpCoverage(keys: $0, queries: rows) }
    }
    queryOwners = Self.owners(queries, side)
    keyOwners = Self.owners(keys, side)
  }

  /// Of each square of an axis, the rank that holds most of it.
  private static func owners(_ sharding: Sharding, _ side: Int) -> [Int?] {
    let count = (sharding.tokens + side - 1) / side
    var owners = [Int?](repeating: nil, count: count)
    var most = [Int](repeating: 0, count: count)
    func hold(_ square: Int, _ rank: Int, _ tokens: Int) {
      if tokens > most[square] { (owners[square], most[square]) = (rank, tokens) }
    }
    for (rank, runs) in sharding.shards.enumerated() {
      for run in runs {
        guard let first = run.first, let last = run.last else { continue }
        if run.stride > side {
          for position in run { hold(position / side, rank, 1) }
          continue
        }
        for square in first / side...last / side {
          let tokens = min(last + 1, (square + 1) * side) - max(first, square * side)
          hold(square, rank, (tokens + run.stride - 1) / run.stride)
        }
      }
    }
    return owners.indices.map { square in
      2 * most[square] > min(side, sharding.tokens - square * side) ? owners[square] : nil
    }
  }
}

extension AttentionPattern {
  /// Coverage, where a pattern that says `some` of all it is unsure of is asked about parts.
  fileprivate func sharpCoverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    let coverage = coverage(keys: keys, queries: queries)
    guard coverage == .some else { return coverage }
    // A few queries tell whether any pair is seen and any hidden, mostly.
    var (isSeen, isHidden) = (false, false)
    let rows = Set([0, queries.count / 3, queries.count * 2 / 3, queries.count - 1]).sorted()
    for row in rows {
      let seen = seenKeys(of: queries[row], among: keys, questions: 64)
      let count = seen.reduce(0) { $0 + $1.count }
      isSeen = isSeen || count > 0
      isHidden = isHidden || count < Double(keys.count)
      if isSeen && isHidden { return .some }
    }
    return queries.count <= 4 ? (isSeen ? .all : .none) : .some
  }
}
