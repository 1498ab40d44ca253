/// Some neighbouring runs of a block that go the same way: the unit that is sent or stays, is
/// computed on, and has a result of its own.
///
/// A block whose runs all go the same way, which is the usual case, is one parcel.
package struct Parcel: Hashable, Sendable {
  /// Which of the runs of the owner's shard.
  package let runs: Range<Int>
  /// The ranks that have work to do on any of them.
  package let visitors: RankSet
  /// How many groups on they are sent; 0 if they stay.
  package let hops: Int
}

extension Meetings {
  /// The parcels of an owner's block.
  ///
  /// - Parameters:
  ///   - key: what neighbouring runs of one parcel have in common, of the ranks that have work to
  ///     do on a run.
  ///   - hops: how far runs with that in common are sent.
  /// - Complexity: O(runs).
  func parcels<Key: Equatable>(
    of owner: Int, by key: (_ visitors: RankSet) -> Key, hops: (Key) -> Int
  ) -> [Parcel] {
    let runs = runVisitors[owner]
    if runs.isEmpty { return [] }
    var parcels: [Parcel] = []
    var first = 0
    var common = key(runs[0])
    for next in 1...runs.count {
      let nextKey = next < runs.count ? key(runs[next]) : nil
      if nextKey == common { continue }
      parcels.append(
        Parcel(
          runs: first..<next,
          visitors: next == first + 1 ? runs[first] : RankSet(uniting: runs[first..<next]),
          hops: hops(common)))
      first = next
      if let nextKey { common = nextKey }
    }
    return parcels
  }
}

extension [Parcel] {
  /// Numbers of parcels, neighbours together: what is sent in one message.
  func stretches(where isSent: (Parcel) -> Bool) -> [Range<Int>] {
    var stretches: [Range<Int>] = []
    for (index, parcel) in enumerated() where isSent(parcel) {
      if let last = stretches.last, last.upperBound == index {
        stretches[stretches.count - 1] = last.lowerBound..<index + 1
      } else {
        stretches.append(index..<index + 1)
      }
    }
    return stretches
  }

  /// Whether a rank has work to do on any of them.
  func isSeen(by rank: Int) -> Bool { contains { $0.visitors.contains(rank) } }

  /// All runs of some parcels.
  func runs(_ stretch: Range<Int>) -> Range<Int> {
    self[stretch.lowerBound].runs.lowerBound..<self[stretch.upperBound - 1].runs.upperBound
  }
}
