import Attention
package import MPI

/// Every block goes from its owner to all ranks that see it at once, and results straight back.
///
/// There are no steps to wait for, which suits small shards; a rank holds all blocks that it sees.
package final class DirectStream: BlockStream {
  private let sees: (_ rank: Int, _ owner: Int) -> Bool
  private let overlaps: Bool
  private let timeline: Timeline?
  private let wire: any Wire
  /// For each owner its block, empty where this rank does not hold it.
  private let blocks: [Piece]
  private var results: DirectResults?

  private static let blockTag = 0

  /// Makes the memory, called by all ranks together.
  ///
  /// - Parameters:
  ///   - sees: whether a rank has work to do on the block of an owner.
  ///   - sizes: for each rank, the bytes of its block.
  ///   - wire: the stream's alone.
  package init(
    sees: @escaping (_ rank: Int, _ owner: Int) -> Bool, sizes: [Int], overlaps: Bool,
    timeline: Timeline?, on wire: any Wire
  ) {
    self.sees = sees
    self.overlaps = overlaps
    self.timeline = timeline
    self.wire = wire
    blocks = StreamMemory.pieces(
      sizes: sizes.indices.map { $0 == wire.rank || sees(wire.rank, $0) ? sizes[$0] : 0 })
  }

  package var traffic: Traffic { wire.traffic }
  package var ownBlock: Piece { blocks[wire.rank] }

  package var ownResult: Piece {
    guard let results else { preconditionFailure("no room was made for results") }
    return results.own
  }

  package func reserveResults(_ sizes: [Int]) {
    if results != nil { return }
    results = DirectResults(
      rank: wire.rank, sizes: sizes, owners: others.filter { sees(wire.rank, $0) },
      sources: others.reversed().filter { sees($0, wire.rank) }, timeline: timeline)
  }

  /// The other ranks, the one before this first, so that not all send to the same.
  private var others: [Int] {
    (1..<max(wire.size, 1)).map { (wire.rank - $0 + wire.size) % wire.size }
  }

  package func run(
    results operations: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) -> Timing {
    let incoming = receiveBlocks()
    let outgoing = try sendBlocks()
    let collector = operations.flatMap { results?.collector($0) }
    func areBlocksHere() throws(MPIError) -> Bool {
      var isOver = true
      for transfer in outgoing where try !transfer.isFinished() { isOver = false }
      for transfer in incoming where try transfer?.isFinished() == false { isOver = false }
      return isOver
    }

    var visits = TimedVisits(interval: wire.lookInterval, looks: overlaps, timeline: timeline)
    for (owner, part) in stops(hasResults: collector != nil) where sees(wire.rank, owner) {
      let here = Visit(
        owner: owner, part: part, block: blocks[owner],
        result: collector?.result(of: owner) ?? .nothing)
      try visits.make(
        here,
        wait: { () throws(MPIError) in
          try wire.wait(for: "the block of rank \(owner)") { () throws(MPIError) in
            _ = try collector?.advance(on: wire)
            if try !areBlocksHere(), !overlaps { return false }
            if try incoming[owner]?.isFinished() == false { return false }
            return try collector?.hasRoom(for: owner) ?? true
          }
          collector?.clear(owner)
        },
        look: { [wire] () throws(MPIError) in
          _ = try areBlocksHere()
          _ = try collector?.advance(on: wire)
        }, compute: visit)
      try collector?.sendHome(owner, on: wire)
    }
    try visits.wait { () throws(MPIError) in
      try wire.wait(for: "the last transfers") { () throws(MPIError) in
        let blocks = try areBlocksHere()
        return try collector?.advance(on: wire) ?? true && blocks
      }
      collector?.finish()
    }
    return visits.timing
  }

  /// For each owner the transfer of its block; nil where none comes.
  private func receiveBlocks() -> [Transfer?] {
    var incoming = [Transfer?](repeating: nil, count: wire.size)
    for owner in others where sees(wire.rank, owner) {
      let transfer = Transfer("receive block", timeline)
      transfer.receive(
        into: [blocks[owner]], of: owner, from: owner, tag: Self.blockTag, on: wire)
      incoming[owner] = transfer
    }
    return incoming
  }

  private func sendBlocks() throws(MPIError) -> [Transfer] {
    var outgoing: [Transfer] = []
    for rank in others.reversed() where sees(rank, wire.rank) {
      let transfer = Transfer("send block", timeline)
      try transfer.send([ownBlock], of: wire.rank, to: rank, tag: Self.blockTag, on: wire)
      outgoing.append(transfer)
    }
    return outgoing
  }

  /// Whose blocks this rank meets in which order, if it sees them.
  ///
  /// Where results are sent, a half of the own block is kept for the end, to cover the last of
  /// them.
  private func stops(hasResults: Bool) -> [(owner: Int, part: BlockPart)] {
    let isSplit = hasResults && wire.size > 1
    return [(wire.rank, isSplit ? .firstHalf : .whole)] + others.map { ($0, .whole) }
      + (isSplit ? [(wire.rank, .secondHalf)] : [])
  }

  package func close() {}
}

extension DirectStream {
  /// Connects the processes of an MPI job, called by all ranks together.
  package convenience init(
    ranks: Int, sees: @escaping (_ rank: Int, _ owner: Int) -> Bool, sizes: [Int], overlaps: Bool,
    timeline: Timeline?, on world: borrowing Communicator
  ) throws(MPIError) {
    self.init(
      sees: sees, sizes: sizes, overlaps: overlaps, timeline: timeline,
      on: try MPIWire(duplicating: world))
  }
}
