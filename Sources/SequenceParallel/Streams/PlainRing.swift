import Attention
package import MPI

/// The ring of blocks as the paper has it: read this first.
///
/// Each rank computes with its own queries on the block in hand, while that block goes to the next
/// rank and another comes from the one before; after as many steps as there are ranks, every rank
/// has met every block, and none has held more than two.
///
/// The other streams do more: leave out what nobody needs, read in place what a group shares, carry
/// results home. Tests hold them to what comes of this one.
///
/// Source: Liu, Zaharia, Abbeel 2023, Ring Attention with Blockwise Transformers, Algorithm 1.
package final class PlainRing: BlockStream {
  private let wire: any Wire
  private let sizes: [Int]
  private let runs: [Range<Int>]
  private let places: [Piece]

  /// - Parameter runSizes: for each rank, the bytes of each run of its block.
  package init(sizes runSizes: [[Int]], on wire: any Wire) {
    self.wire = wire
    sizes = runSizes.map { $0.reduce(0, +) }
    runs = runSizes.map(\.indices)
    let largest = sizes.max() ?? 0
    places = StreamMemory.pieces(sizes: [sizes[wire.rank], largest, largest])
  }

  package func run(
    results: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) -> Timing {
    precondition(results == nil, "nothing goes home on the plain ring")
    let (rank, size) = (wire.rank, wire.size)
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size)
    var block = ownBlock
    for step in 0..<size {
      let owner = (rank + size - step) % size
      let isLast = step == size - 1
      let coming = places[1 + step % 2][0..<sizes[(owner + size - 1) % size]]

      let receive = isLast ? nil : wire.receive(into: coming, from: previous, tag: 0)
      let send = isLast ? nil : try wire.send(block, to: next, tag: 0)
      visit(
        Visit(owner: owner, runs: runs[owner], part: .whole, block: block, result: .nothing)
      ) {
        _ = try? receive?.isFinished()
        _ = try? send?.isFinished()
      }
      try wire.wait(for: "step \(step) of the ring") { () throws(MPIError) in
        let isHere = try receive?.isFinished() ?? true
        return try send?.isFinished() ?? true && isHere
      }
      block = coming
    }
    return Timing()
  }

  package var ownBlock: Piece { places[0] }
  package var ownResult: Piece { .nothing }
  package var traffic: Traffic { wire.traffic }
  package var ownParcels: [Range<Int>] { [runs[wire.rank]] }
  package func reserveResults(_ sizes: [[Int]]) {}
  package func close() {}
}
