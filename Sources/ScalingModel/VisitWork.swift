import Attention
package import Sharding

/// The visible pairs of one head between the queries of one rank and the keys of another, in closed
/// form, so that 10¹⁰ of them can be asked for.
///
/// With shards of n tokens, under a causal mask a rank sees of another in the zigzag layout n²/2,
/// all of it of half the keys or by half the queries; in the striped layout a triangle with its
/// diagonal or without; in the contiguous layout all of those before it and nothing of those after.
package struct VisitWork {
  private let counts: [Double]
  private let kind: Kind

  private enum Kind {
    case full, contiguous, zigzag, striped
  }

  /// - Parameter counts: the tokens of each rank.
  package init(counts: [Int], layout: Layout, isCausal: Bool) {
    self.counts = counts.map(Double.init)
    kind =
      switch layout {
      case _ where !isCausal: .full
      case .contiguous: .contiguous
      case .zigzag: .zigzag
      case .striped: .striped
      }
  }

  /// The pairs of one head.
  @inline(__always)
  package func pairs(rank: Int, owner: Int) -> Double {
    let (n, m) = (counts[rank], counts[owner])
    if rank == owner, kind != .full { return n * (n + 1) / 2 }
    switch kind {
    case .full: return n * m
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

  /// Whether a block passes over some ranks: those before its owner see none of it.
  var isCut: Bool { kind == .contiguous }

  /// Whether the mask runs through every visit, and not only through those of own blocks.
  var isMaskedEverywhere: Bool { kind == .striped }
}
