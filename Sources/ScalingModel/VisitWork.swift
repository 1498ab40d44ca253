import Attention
package import SequenceParallel
package import Sharding

/// The visible pairs of one head between the rows of one rank and the block of another.
///
/// For all keys, and for a causal mask in a regular layout, they are known in closed form, so that
/// 10¹⁰ of them can be asked for. For any other mask or layout the pattern is asked.
///
/// With shards of n tokens, under a causal mask a rank sees of another in the zigzag layout n²/2,
/// all of it of half the keys or by half the queries; in the striped layout a triangle with its
/// diagonal or without; in the contiguous layout all of those before it and nothing of those after.
package struct VisitWork {
  private let counts: [Double]
  private let kind: Kind
  /// Whether what visits are queries, and a rank's own rows are keys.
  private let isSwapped: Bool
  /// Pairs of queries by keys, where they are not known in closed form.
  let table: VisitTable?

  private enum Kind {
    case full, contiguous, zigzag, striped, asked
  }

  /// - Parameters:
  ///   - queries: which rank holds which.
  ///   - keys: which rank holds which.
  ///   - travelling: what blocks are made of.
  package init(
    _ problem: DenseProblem, queries: Sharding, keys: Sharding, travelling: Travelling = .keys
  ) {
    counts = keys.shards.indices.map { Double(keys.tokenCount(of: $0)) }
    kind =
      switch (problem.layout, problem.pattern) {
      case _ where problem.part != .all: .asked
      case (_, .full): .full
      case (.contiguous, .causal): .contiguous
      case (.zigzag, .causal): .zigzag
      case (.striped, .causal): .striped
      default: .asked
      }
    isSwapped = travelling == .queries
    table =
      kind == .asked
      ? VisitTable(
        problem.attentionPattern, queries: queries, keys: keys) : nil
  }

  /// The pairs of one head.
  @inline(__always)
  package func pairs(rank: Int, owner: Int) -> Double {
    isSwapped ? pairs(of: owner, with: rank) : pairs(of: rank, with: owner)
  }

  /// What the queries of one rank see of the keys of another.
  @inline(__always)
  private func pairs(of rank: Int, with owner: Int) -> Double {
    if let table { return table[rank, owner] }
    let (n, m) = (counts[rank], counts[owner])
    if rank == owner, kind != .full { return n * (n + 1) / 2 }
    switch kind {
    case .full, .asked: return n * m
    case .contiguous: return owner < rank ? n * m : 0
    case .zigzag:
      // The outer of the two holds whole halves; only the innermost rank can have an odd token.
      return owner < rank ? n * (m / 2).rounded(.down) : (n / 2).rounded(.down) * m
    case .striped:
      // Query i of `rank` is i·P + rank, and sees as many keys of `owner` as there are up to it.
      let least = min(n, m)
      let seen = owner < rank ? least * (least + 1) / 2 : least * (least - 1) / 2
      return seen + (n > m ? (n - m) * m : 0)
    }
  }

  /// Numbers of visits that are not known in closed form, of a rank's own rows by owners of blocks.
  @inline(__always)
  func value(of table: VisitTable, rank: Int, owner: Int) -> Double {
    isSwapped ? table[owner, rank] : table[rank, owner]
  }

  /// Pairs as products, where they are: with an owner before a rank, of the rank's count and a
  /// number of the owner; with a later one, of a number of the rank and the owner's count.
  var factors: (counts: [Double], earlier: [Double], later: [Double])? {
    let halves = counts.map { ($0 / 2).rounded(.down) }
    let none = counts.map { _ in 0.0 }
    let plain: (earlier: [Double], later: [Double])
    switch kind {
    case .full: plain = (counts, counts)
    case .contiguous: plain = (counts, none)
    case .zigzag: plain = (halves, halves)
    case .striped, .asked: return nil
    }
    return isSwapped ? (counts, plain.later, plain.earlier) : (counts, plain.earlier, plain.later)
  }

  /// The share of a square of a rank's tokens by another's that their visits compute: half of
  /// the rows or of the columns in the zigzag layout, under a causal mask.
  var shareOfSquare: Double { kind == .zigzag ? 0.5 : 1 }

  /// Whether the mask runs through every visit, and not only through those of own blocks.
  var isMaskedEverywhere: Bool { kind == .striped }
}
