import Attention
import MPI
import Tensors

/// The visits of a stream without its transfers, to measure what computing alone takes.
///
/// A rank meets every block that it would meet, in the same order and with the same runs and sizes, but
/// reads its own memory in the block's place. Numbers are therefore wrong, times are right.
final class LocalStream: BlockStream {
  private let schedule: RingSchedule
  private let rank: Int
  private let sizes: [Int]
  private let timeline: Timeline?
  private let block: AlignedBuffer<UInt8>
  private var resultSizes: [Int] = []
  /// The own result, and one for the blocks of all others.
  private var results: [AlignedBytes] = []

  let traffic = Traffic.zero

  /// - Parameters:
  ///   - sizes: for each rank, the bytes of its block.
  ///   - timeline: where spans are noted.
  init(schedule: RingSchedule, sizes: [Int], timeline: Timeline?, rank: Int) {
    self.schedule = schedule
    self.rank = rank
    self.sizes = sizes
    self.timeline = timeline
    block = AlignedBuffer(zeros: sizes.max() ?? 0)
  }

  var ownBlock: UnsafeMutableRawBufferPointer { unsafe bytes(of: rank) }
  var ownResult: UnsafeMutableRawBufferPointer { unsafe result(of: rank) }

  func reserveResults(_ sizes: [Int]) {
    if !results.isEmpty { return }
    resultSizes = sizes
    results = (0..<2).map { _ in AlignedBytes(count: sizes.max() ?? 0) }
  }

  private func bytes(of owner: Int) -> UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(rebasing: block.unsafeMutableBytes[..<sizes[owner]])
  }

  private func result(of owner: Int) -> UnsafeMutableRawBufferPointer {
    precondition(!results.isEmpty, "no room was made for results")
    return unsafe results[owner == rank ? 0 : 1].first(resultSizes[owner])
  }

  func run(
    results operations: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) -> Timing {
    let isSplit = operations != nil && schedule.hops.contains { $0 > 0 }
    let start = ContinuousClock.now
    if let operations { unsafe operations.clear(rank, ownResult) }
    for (owner, part) in schedule.visits(of: rank, isSplit: isSplit) {
      if owner != rank, let operations { unsafe operations.clear(owner, result(of: owner)) }
      let start = ContinuousClock.now
      unsafe visit(
        Visit(
          owner: owner, part: part, block: unsafe bytes(of: owner),
          result: unsafe operations == nil
            ? UnsafeMutableRawBufferPointer(start: nil, count: 0) : result(of: owner))
      ) {}
      timeline?.note(.computing, "block of \(owner)", from: start, to: .now)
    }
    var timing = Timing()
    timing.computing = .now - start
    return timing
  }

  func close() {}
}

/// Memory in an array.
private final class AlignedBytes {
  private let memory: AlignedBuffer<UInt8>

  init(count: Int) { memory = AlignedBuffer(zeros: count) }

  @unsafe
  func first(_ count: Int) -> UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(rebasing: memory.unsafeMutableBytes[..<count])
  }
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
