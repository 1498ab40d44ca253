import Attention
package import MPI
package import SequenceParallel

/// What ``PairwiseDelivery`` makes: at step `s` a rank meets the block of the rank `s` before it.
package final class PairwiseStream: BlockStream {
  private let wire: any Wire
  private let meetings: Meetings
  /// For each owner, the bytes of its block, and its runs.
  private let sizes: [Int]
  private let runs: [Range<Int>]
  /// The own block, and those of two steps.
  private let blocks: [Piece]
  /// For each owner, the bytes of its result.
  private var resultSizes: [Int] = []
  /// The own result, a part of it that comes in, and those of two steps.
  private var results: [Piece] = []

  package init(_ blocks: TravellingBlocks, on wire: any Wire) {
    self.wire = wire
    meetings = blocks.meetings
    sizes = blocks.sizes.map { $0.reduce(0, +) }
    runs = blocks.sizes.map(\.indices)
    let largest = sizes.max() ?? 0
    self.blocks = StreamMemory.pieces(sizes: [sizes[wire.rank], largest, largest])
  }

  package func reserveResults(_ sizes: [[Int]]) {
    if !results.isEmpty { return }
    resultSizes = sizes.map { $0.reduce(0, +) }
    let (own, largest) = (resultSizes[wire.rank], resultSizes.max() ?? 0)
    results = StreamMemory.pieces(sizes: [own, own, largest, largest])
  }

  package var ownBlock: Piece { blocks[0] }
  package var ownResult: Piece { results[0] }
  package var ownParcels: [Range<Int>] { [runs[wire.rank]] }
  package var traffic: Traffic { wire.traffic }
  package func close() {}

  /// Whose block a rank meets at a step, and who meets the own block then.
  private func owner(_ step: Int) -> Int { (wire.rank + wire.size - step) % wire.size }
  private func visitor(_ step: Int) -> Int { (wire.rank + step) % wire.size }

  private func block(_ step: Int) -> Piece {
    step == 0 ? blocks[0] : blocks[1 + step % 2][0..<sizes[owner(step)]]
  }

  private func result(_ step: Int) -> Piece {
    step == 0 ? results[0] : results[2 + step % 2][0..<resultSizes[owner(step)]]
  }

  package func run(
    results operations: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) -> Timing {
    var timing = Timing()
    var transfers: [(any Shipment)?] = []
    var home: [(any Shipment)?] = [nil, nil]
    var taken = 1
    var coming: (any Shipment)?
    operations?.clear(wire.rank, runs[wire.rank], result(0))
    for step in 0..<wire.size {
      let start = ContinuousClock.now
      // The block of this step is here, and the place of its result is free.
      try wire.wait(for: "the block of rank \(owner(step))") { () throws(MPIError) in
        if step > 0 { try takeHome(operations, &taken, &coming) }
        return try areOver(transfers + [home[step % 2]])
      }
      transfers = try beginTransfers(step + 1)
      let ready = ContinuousClock.now
      timing.waiting += ready - start
      guard meetings.meets(wire.rank, owner(step)) else { continue }
      if step > 0 { operations?.clear(owner(step), runs[owner(step)], result(step)) }
      let here = Visit(
        owner: owner(step), runs: runs[owner(step)], part: .whole, block: block(step),
        result: operations == nil ? .nothing : result(step))
      visit(here) { [transfers, home] in _ = try? areOver(transfers + home) }
      timing.computing += .now - ready
      if operations != nil, step > 0, result(step).byteCount > 0 {
        home[step % 2] = try wire.send(result(step), to: owner(step), tag: 1)
      }
    }
    let start = ContinuousClock.now
    try wire.wait(for: "the last results") { () throws(MPIError) in
      try takeHome(operations, &taken, &coming)
      let isSent = try areOver(home)
      return isSent && taken == wire.size
    }
    timing.waiting += .now - start
    return timing
  }

  /// Receives the next block and sends the own one, where they are of use.
  private func beginTransfers(_ step: Int) throws(MPIError) -> [(any Shipment)?] {
    if step == wire.size { return [] }
    var transfers: [(any Shipment)?] = []
    if meetings.meets(wire.rank, owner(step)), block(step).byteCount > 0 {
      transfers.append(wire.receive(into: block(step), from: owner(step), tag: 0))
    }
    if meetings.meets(visitor(step), wire.rank), ownBlock.byteCount > 0 {
      transfers.append(try wire.send(ownBlock, to: visitor(step), tag: 0))
    }
    return transfers
  }

  /// Adds what the others have found out about the own block, one after the other.
  ///
  /// Only in a wait after the own visit, when nobody computes on the result.
  private func takeHome(
    _ operations: ResultOperations?, _ taken: inout Int, _ coming: inout (any Shipment)?
  ) throws(MPIError) {
    while taken < wire.size {
      if let operations, ownResult.byteCount > 0, meetings.meets(visitor(taken), wire.rank) {
        let shipment = coming ?? wire.receive(into: results[1], from: visitor(taken), tag: 1)
        coming = shipment
        guard try shipment.isFinished() else { return }
        operations.add(wire.rank, runs[wire.rank], ownResult, results[1])
        coming = nil
      }
      taken += 1
    }
  }

  private func areOver(_ transfers: [(any Shipment)?]) throws(MPIError) -> Bool {
    var isOver = true
    for case .some(let transfer) in transfers where try !transfer.isFinished() { isOver = false }
    return isOver
  }
}
