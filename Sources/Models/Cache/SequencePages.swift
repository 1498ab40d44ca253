import Sharding
import Tensors

extension PagedCache {
  /// This rank's pages of several sequences.
  struct SequencePages {
    /// A page's number, and the positions of its first tokens.
    typealias Page = (number: Int, positions: PositionRange)

    /// Those that all of the sequences have.
    let shared: [Page]
    /// The others of each; none of a sequence that is the only one.
    let own: [[Page]]
  }

  /// Looks for what sequences share.
  ///
  /// - Complexity: O(pages of all).
  func pages(of sequences: [PageTable.Sequence]) -> SequencePages {
    let entries = sequences.map { sequence in
      table.entries(of: sequence).filter { $0.page.rank == rank }
    }
    func pages(_ entries: [PageTable.Entry]) -> [SequencePages.Page] {
      entries.map { ($0.page.number, $0.positions) }
    }
    guard let first = entries.first, entries.count > 1 else {
      return SequencePages(shared: pages(entries.first ?? []), own: [])
    }
    let common = entries.dropFirst().reduce(Set(first)) { $0.intersection($1) }
    return SequencePages(
      shared: pages(first.filter(common.contains)),
      own: entries.map { pages($0.filter { !common.contains($0) }) })
  }
}
