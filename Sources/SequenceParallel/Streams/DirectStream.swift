import Attention
package import MPI

/// Of every block each rank that sees any of it gets what it sees at once, and results go straight
/// back.
///
/// There are no steps to wait for, which suits small shards; a rank holds all that it sees.
package final class DirectStream: BlockStream {
  /// For each owner.
  private let parcels: [[Parcel]]
  private let overlaps: Bool
  private let timeline: Timeline?
  private let wire: any Wire
  /// For each owner where its parcels lie, those that this rank sees; its own all.
  private let layouts: [ParcelLayout]
  /// For each owner what this rank sees of its block.
  private let blocks: [Piece]
  private var results: DirectResults?

  private static let blockTag = 0

  /// Makes the memory, called by all ranks together.
  ///
  /// - Parameters:
  ///   - parcels: for each owner, those of its block.
  ///   - sizes: for each owner, the bytes of each run of its block.
  ///   - wire: the stream's alone.
  package init(
    parcels: [[Parcel]], sizes: [[Int]], overlaps: Bool, timeline: Timeline?, on wire: any Wire
  ) {
    self.parcels = parcels
    self.overlaps = overlaps
    self.timeline = timeline
    self.wire = wire
    layouts = Self.layouts(of: parcels, sizes: sizes, rank: wire.rank)
    blocks = StreamMemory.pieces(sizes: layouts.map(\.byteCount))
  }

  private static func layouts(
    of parcels: [[Parcel]], sizes: [[Int]], rank: Int
  ) -> [ParcelLayout] {
    parcels.indices.map { owner in
      ParcelLayout(parcels[owner], sizes: sizes[owner]) {
        owner == rank || $0.visitors.contains(rank)
      }
    }
  }

  package var traffic: Traffic { wire.traffic }
  package var ownBlock: Piece { blocks[wire.rank] }
  package var ownParcels: [Range<Int>] { parcels[wire.rank].map(\.runs) }

  package var ownResult: Piece {
    guard let results else { preconditionFailure("no room was made for results") }
    return results.own
  }

  package func reserveResults(_ sizes: [[Int]]) {
    if results != nil { return }
    results = DirectResults(
      rank: wire.rank, parcels: parcels,
      layouts: Self.layouts(of: parcels, sizes: sizes, rank: wire.rank),
      largest: largestHandout(of: parcels, sizes: sizes),
      owners: others.filter { sees(wire.rank, $0) },
      sources: others.reversed().filter { sees($0, wire.rank) }, timeline: timeline)
  }

  private func sees(_ rank: Int, _ owner: Int) -> Bool { parcels[owner].isSeen(by: rank) }

  /// What a rank sees of an owner's block, of which this rank is one or the other.
  private func pieces(of owner: Int, seenBy rank: Int) -> [Piece] {
    parcels[owner].stretches { $0.visitors.contains(rank) }.map {
      blocks[owner][layouts[owner][$0]]
    }
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
      let here = parcels[owner].enumerated().compactMap { index, parcel in
        parcel.visitors.contains(wire.rank)
          ? Visit(
            owner: owner, runs: parcel.runs, part: part,
            block: blocks[owner][layouts[owner][index]],
            result: collector?.result(of: owner, index) ?? .nothing) : nil
      }
      try visits.make(
        owner, here,
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
        into: pieces(of: owner, seenBy: wire.rank), of: owner, from: owner, tag: Self.blockTag,
        on: wire)
      incoming[owner] = transfer
    }
    return incoming
  }

  private func sendBlocks() throws(MPIError) -> [Transfer] {
    var outgoing: [Transfer] = []
    for rank in others.reversed() where sees(rank, wire.rank) {
      let transfer = Transfer("send block", timeline)
      try transfer.send(
        pieces(of: wire.rank, seenBy: rank), of: wire.rank, to: rank, tag: Self.blockTag, on: wire)
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
    parcels: [[Parcel]], sizes: [[Int]], overlaps: Bool, timeline: Timeline?,
    on world: borrowing Communicator
  ) throws(MPIError) {
    self.init(
      parcels: parcels, sizes: sizes, overlaps: overlaps, timeline: timeline,
      on: try MPIWire(duplicating: world))
  }
}
