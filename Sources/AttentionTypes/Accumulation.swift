public import Tensors

/// How the contributions of blocks are added up.
public enum Accumulation: Sendable, Hashable {
  /// In `Float`, in the order in which blocks come: results differ in their last bits between
  /// numbers of ranks, layouts and orders of arrival.
  case fast

  /// So that order cannot matter: results are the same bits for every number of ranks and threads,
  /// every layout and every order of arrival.
  ///
  /// A sequence is cut into leaves of ``granularity`` tokens. What one leaf of keys does to a
  /// query, and one leaf of queries to a key, is computed as in ``fast``; those results are added
  /// as integers. Shards must consist of whole leaves. State and travelling gradients take four
  /// times the memory.
  case reproducible

  /// Tokens of a leaf, 1 if there are none: shards are divided at multiples of it.
  public var granularity: Int {
    switch self {
    case .fast: 1
    case .reproducible: Self.leaf
    }
  }

  /// Tokens of a leaf of reproducible sums: a multiple of every tile of the kernels.
  package static let leaf = 768

  /// Whether leaves can be cut from the runs of a shard: each is consecutive and starts with a
  /// leaf.
  ///
  /// Only the last leaf of a sequence may be short. Where the sequence ends cannot be seen here.
  public func accepts(_ runs: [PositionRange]) -> Bool {
    granularity == 1
      || runs.allSatisfy { $0.isEmpty || $0.isContiguous && $0.start % granularity == 0 }
  }
}
