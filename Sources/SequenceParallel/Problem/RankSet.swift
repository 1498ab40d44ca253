/// Some ranks, as ranges: memory and time go by how many there are, which for the usual masks and
/// layouts are one or two.
package struct RankSet: Hashable, Sendable {
  /// Ascending, neither empty nor touching.
  package private(set) var ranges: [Range<Int>]

  /// Takes ranges in any order.
  init(_ ranges: [Range<Int>]) {
    self.ranges = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
      if let last = self.ranges.last, range.lowerBound <= last.upperBound {
        self.ranges[self.ranges.count - 1] =
          last.lowerBound..<max(last.upperBound, range.upperBound)
      } else {
        self.ranges.append(range)
      }
    }
  }

  /// All ranks of several sets.
  init(uniting sets: some Collection<RankSet>) { self.init(sets.flatMap(\.ranges)) }

  /// How many ranks there are.
  var count: Int { ranges.reduce(0) { $0 + $1.count } }

  /// The lowest rank.
  var first: Int? { ranges.first?.lowerBound }

  /// The highest rank.
  var last: Int? { ranges.last.map { $0.upperBound - 1 } }

  /// The others.
  func without(_ rank: Int) -> RankSet {
    guard contains(rank) else { return self }
    return RankSet(
      ranges.flatMap { range in
        range.contains(rank)
          ? [range.lowerBound..<rank, rank + 1..<range.upperBound] : [range]
      })
  }

  /// Whether there are none.
  var isEmpty: Bool { ranges.isEmpty }

  /// Whether a rank is one of them.
  func contains(_ rank: Int) -> Bool {
    let index = firstRange(endingAfter: rank)
    return index < ranges.count && ranges[index].lowerBound <= rank
  }

  /// The highest rank below another.
  func last(below rank: Int) -> Int? {
    let index = firstRange(endingAfter: rank)
    if index < ranges.count, ranges[index].lowerBound < rank { return rank - 1 }
    return index > 0 ? ranges[index - 1].upperBound - 1 : nil
  }

  /// The lowest rank from another on.
  func first(from rank: Int) -> Int? {
    let index = firstRange(endingAfter: rank)
    return index < ranges.count ? max(rank, ranges[index].lowerBound) : nil
  }

  private func firstRange(endingAfter rank: Int) -> Int {
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound > rank { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
