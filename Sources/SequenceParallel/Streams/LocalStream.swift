import Attention
package import MPI

/// The visits of a stream without its transfers, to measure what computing alone takes.
///
/// A rank meets every block that it would meet, in the same order and with the same runs and sizes,
/// but reads its own memory in the block's place. Numbers are therefore wrong, times are right.
package final class LocalStream: BlockStream {
  private let schedule: RingSchedule
  private let rank: Int
  private let sizes: [Int]
  private let timeline: Timeline?
  /// Room for the largest block.
  private let block: Piece
  private var resultSizes: [Int] = []
  /// The own result, and one for the blocks of all others.
  private var results: [Piece] = []

  package let traffic = Traffic.zero

  /// - Parameters:
  ///   - sizes: for each rank, the bytes of its block.
  ///   - timeline: where spans are noted.
  package init(schedule: RingSchedule, sizes: [Int], timeline: Timeline?, rank: Int) {
    self.schedule = schedule
    self.rank = rank
    self.sizes = sizes
    self.timeline = timeline
    block = StreamMemory.pieces(sizes: [sizes.max() ?? 0])[0]
  }

  package var ownBlock: Piece { block[0..<sizes[rank]] }
  package var ownResult: Piece { result(of: rank) }

  package func reserveResults(_ sizes: [Int]) {
    if !results.isEmpty { return }
    resultSizes = sizes
    results = StreamMemory.pieces(sizes: [Int](repeating: sizes.max() ?? 0, count: 2))
  }

  private func result(of owner: Int) -> Piece {
    precondition(!results.isEmpty, "no room was made for results")
    return results[owner == rank ? 0 : 1][0..<resultSizes[owner]]
  }

  package func run(
    results operations: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) -> Timing {
    let isSplit = operations != nil && schedule.hops.contains { $0 > 0 }
    let start = ContinuousClock.now
    operations?.clear(rank, ownResult)
    for (owner, part) in schedule.visits(of: rank, isSplit: isSplit) {
      if owner != rank { operations?.clear(owner, result(of: owner)) }
      let start = ContinuousClock.now
      visit(
        Visit(
          owner: owner, part: part, block: block[0..<sizes[owner]],
          result: operations == nil ? .nothing : result(of: owner))
      ) {}
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
