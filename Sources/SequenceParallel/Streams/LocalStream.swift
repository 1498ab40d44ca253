import Attention
package import MPI

/// The visits of a stream without its transfers, to measure what computing alone takes.
///
/// A rank meets every block that it would meet, in the same order and with the same runs and sizes,
/// but reads its own memory in the block's place. Numbers are therefore wrong, times are right.
package final class LocalStream: BlockStream {
  private let schedule: RingSchedule
  private let rank: Int
  private let layouts: [ParcelLayout]
  private let timeline: Timeline?
  /// Room for the largest block.
  private let block: Piece
  private var resultLayouts: [ParcelLayout] = []
  /// The own result, and one for the blocks of all others.
  private var results: [Piece] = []

  package let traffic = Traffic.zero

  /// - Parameters:
  ///   - sizes: for each rank, the bytes of each run of its block.
  ///   - timeline: where spans are noted.
  package init(schedule: RingSchedule, sizes: [[Int]], timeline: Timeline?, rank: Int) {
    self.schedule = schedule
    self.rank = rank
    layouts = zip(schedule.parcels, sizes).map { ParcelLayout($0, sizes: $1) }
    self.timeline = timeline
    block = StreamMemory.pieces(sizes: [layouts.map(\.byteCount).max() ?? 0])[0]
  }

  package var ownBlock: Piece { block[0..<layouts[rank].byteCount] }
  package var ownResult: Piece { result(of: rank) }
  package var ownParcels: [Range<Int>] { schedule.parcels[rank].map(\.runs) }

  package func reserveResults(_ sizes: [[Int]]) {
    if !results.isEmpty { return }
    resultLayouts = zip(schedule.parcels, sizes).map { ParcelLayout($0, sizes: $1) }
    let largest = resultLayouts.map(\.byteCount).max() ?? 0
    results = StreamMemory.pieces(sizes: [largest, largest])
  }

  private func result(of owner: Int) -> Piece {
    precondition(!results.isEmpty, "no room was made for results")
    return results[owner == rank ? 0 : 1][0..<resultLayouts[owner].byteCount]
  }

  private func result(of owner: Int, _ parcel: Int) -> Piece {
    result(of: owner)[resultLayouts[owner][parcel]]
  }

  /// Makes ready for visits of an owner's block.
  private func clear(_ owner: Int, _ operations: ResultOperations?) {
    guard let operations else { return }
    for (index, parcel) in schedule.parcels[owner].enumerated() {
      operations.clear(owner, parcel.runs, result(of: owner, index))
    }
  }

  package func run(
    results operations: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) -> Timing {
    let isSplit = operations != nil && schedule.hops.contains { $0 > 0 }
    let start = ContinuousClock.now
    clear(rank, operations)
    for (owner, part) in schedule.visits(of: rank, isSplit: isSplit) {
      if owner != rank { clear(owner, operations) }
      let start = ContinuousClock.now
      for (index, parcel) in schedule.parcels[owner].enumerated()
      where parcel.visitors.contains(rank) {
        visit(
          Visit(
            owner: owner, runs: parcel.runs, part: part, block: block[layouts[owner][index]],
            result: operations == nil ? .nothing : result(of: owner, index))
        ) {}
      }
      timeline?.note(.computing, "block of \(owner)", from: start, to: .now)
    }
    var timing = Timing()
    timing.computing = .now - start
    return timing
  }

  package func close() {}
}

extension RingSchedule {
  /// The blocks that a rank meets, in order, with what it computes of each.
  ///
  /// - Parameter isSplit: whether half of what its own group owns is kept for the end.
  func visits(of rank: Int, isSplit: Bool) -> [(owner: Int, part: BlockPart)] {
    let (group, member) = places[rank]
    let first = (0..<turns).map { ($0, $0 == 0 && isSplit ? BlockPart.firstHalf : .whole) }
    return (first + (isSplit ? [(0, .secondHalf)] : [])).flatMap { turn, part in
      slotOrder(member: member).compactMap { slot in
        owner(group: group, turn: turn, slot: slot).flatMap { sees(rank, $0) ? ($0, part) : nil }
      }
    }
  }
}
