/// How far it is round a ring of groups to the last that has any of some ranks.
struct RingWay {
  private let groups: [[Int]]
  private let places: [(group: Int, member: Int)]
  private let order: Order

  /// Where the ranks of the groups are, one group after the other.
  private enum Order {
    case ascending, descending, other
  }

  init(_ groups: [[Int]], places: [(group: Int, member: Int)]) {
    self.groups = groups
    self.places = places
    let ranks = 0..<places.count
    order =
      groups.joined().elementsEqual(ranks)
      ? .ascending : groups.reversed().joined().elementsEqual(ranks) ? .descending : .other
  }

  /// The turns until what starts at a group has come to all that have any of the ranks; 0 if none
  /// of them is in another group.
  ///
  /// - Complexity: O(log P) where the order of groups is that of ranks, or the opposite; else
  ///   O(groups).
  func hops(from group: Int, to ranks: RankSet) -> Int {
    guard let first = ranks.first, let last = ranks.last, let lowest = groups[group].first else {
      return 0
    }
    // The last on the way: of those past the end of the ring, if there are any, the farthest.
    let farthest: Int
    switch order {
    case .ascending: farthest = ranks.last(below: lowest) ?? last
    case .descending: farthest = ranks.first(from: lowest + groups[group].count) ?? first
    case .other:
      return groups.indices.last { turn in
        groups[(group + turn) % groups.count].contains(where: ranks.contains)
      } ?? 0
    }
    return (places[farthest].group - group + groups.count) % groups.count
  }
}
