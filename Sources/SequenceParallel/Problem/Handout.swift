/// What some neighbouring ranks see of a block, each of them the same parcels of it.
struct Handout {
  let ranks: Range<Int>
  /// The parcels that they see, neighbours together.
  let stretches: [Range<Int>]
}

extension [Parcel] {
  /// Who sees what of a block: the ranks that see any of it, in ascending ranges.
  ///
  /// - Complexity: O(ranges of ranks · parcels).
  var handouts: [Handout] {
    if count == 1 {
      return self[0].visitors.ranges.map { Handout(ranks: $0, stretches: [0..<1]) }
    }
    // Between two bounds all ranks see the same.
    let bounds = Set(
      flatMap { $0.visitors.ranges.flatMap { [$0.lowerBound, $0.upperBound] } }
    ).sorted()
    return zip(bounds, bounds.dropFirst()).compactMap { first, end in
      let seen = stretches { $0.visitors.contains(first) }
      return seen.isEmpty ? nil : Handout(ranks: first..<end, stretches: seen)
    }
  }
}

extension Meetings {
  /// For each owner, the parcels of its block where each rank gets what it sees: neighbouring runs
  /// that the same other ranks have work to do on.
  package var parcelsByVisitors: [[Parcel]] {
    visitors.indices.map { owner in
      parcels(of: owner, by: { $0.without(owner) }, hops: { $0.isEmpty ? 0 : 1 })
    }
  }
}

/// The most that any rank is given of another's block, where `sizes` are those of the runs of each
/// owner.
func largestHandout(of parcels: [[Parcel]], sizes: [[Int]]) -> Int {
  var largest = 0
  for (owner, parcels) in parcels.enumerated() {
    for handout in parcels.handouts where handout.ranks != owner..<owner + 1 {
      let size = handout.stretches.reduce(0) {
        $0 + sizes[owner][parcels.runs($1)].reduce(0, +)
      }
      largest = max(largest, size)
    }
  }
  return largest
}
