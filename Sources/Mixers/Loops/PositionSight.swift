import Sharding

/// Which keys some queries see, by the positions of both: all, or causal those up to their own.
struct PositionSight: Sendable {
  /// Whether a query sees the keys up to its own position only.
  let isCausal: Bool
  /// Positions of this rank's tokens.
  let queries: [Int]
  /// Positions of a block's tokens, in the order in which they lie there.
  let keys: [Int]

  /// What a tile of queries sees of a tile of keys.
  enum Coverage {
    case nothing, some, all
  }

  /// - Parameter owner: whose block is met.
  init(isCausal: Bool, owner: Int, on visit: Ring.Visit) {
    self.isCausal = isCausal
    queries = isCausal ? visit.line.runs.flatMap { Array($0) } : []
    keys = isCausal ? visit.line.sharding.shards[owner].flatMap { Array($0) } : []
  }

  /// What some queries see of some keys.
  func coverage(_ own: Range<Int>, _ others: Range<Int>) -> Coverage {
    if !isCausal { return .all }
    let (first, last) = queries[own].minAndMax
    let (low, high) = keys[others].minAndMax
    return high <= first ? .all : low > last ? .nothing : .some
  }

  /// Whether a query sees a key.
  func sees(_ query: Int, _ key: Int) -> Bool { !isCausal || keys[key] <= queries[query] }
}

extension ArraySlice<Int> {
  /// The least and the largest.
  fileprivate var minAndMax: (Int, Int) {
    reduce((Int.max, Int.min)) { (Swift.min($0.0, $1), Swift.max($0.1, $1)) }
  }
}
