import MPI

/// Results on their way straight home, and the memory for them.
///
/// What the other ranks have found out is added up by itself, in an order that does not depend on
/// who is first, and to the rank's own part at the end, when nobody computes on it any more.
final class DirectResults {
  private let rank: Int
  /// For each owner, and where what this rank sees of them lies.
  private let parcels: [[Parcel]]
  private let layouts: [ParcelLayout]
  /// Ranks that send results here.
  private let sources: [Int]
  /// What this rank finds out about its own block.
  let own: Piece
  /// What the others have.
  private let sum: Piece
  private let arriving: Piece
  /// For each owner of a block that this rank sees, which of two places its result takes.
  private let places: [Int: Int]
  private let results: [Int: Piece]
  private let outgoing: [Transfer]
  private let incoming: Transfer

  private static let tag = 1

  /// The tokens whose results there is room for: the own ones, those of others' parts of them and
  /// of one part that comes in; and of two owners, on their way to them.
  ///
  /// - Parameters:
  ///   - own: those of the rank.
  ///   - most: the most that any rank sees of another's.
  static func tokens(own: Double, most: Double) -> Double { 3 * own + 2 * most }

  /// - Parameters:
  ///   - parcels: for each owner, those of its block.
  ///   - layouts: for each owner, where the results of those that this rank sees lie.
  ///   - largest: the most bytes that any rank has for another.
  ///   - owners: the other ranks whose blocks this one sees, in the order of its visits.
  ///   - sources: the other ranks that see this one's, in the order in which results are added.
  init(
    rank: Int, parcels: [[Parcel]], layouts: [ParcelLayout], largest: Int, owners: [Int],
    sources: [Int], timeline: Timeline?
  ) {
    self.rank = rank
    self.parcels = parcels
    self.layouts = layouts
    self.sources = sources
    let size = layouts[rank].byteCount
    let pieces = StreamMemory.pieces(sizes: [size, size, size, largest, largest])
    (own, sum, arriving) = (pieces[0], pieces[1], pieces[2])
    let places = Dictionary(uniqueKeysWithValues: owners.enumerated().map { ($1, $0 % 2) })
    self.places = places
    results = Dictionary(
      uniqueKeysWithValues: owners.map {
        ($0, pieces[3 + places[$0, default: 0]][0..<layouts[$0].byteCount])
      })
    outgoing = (0..<2).map { _ in Transfer("send result", timeline) }
    incoming = Transfer("receive result", timeline)
  }

  /// Begins a run.
  func collector(_ operations: ResultOperations) -> Collector {
    for (index, parcel) in parcels[rank].enumerated() {
      operations.clear(rank, parcel.runs, own[layouts[rank][index]])
      operations.clear(rank, parcel.runs, sum[layouts[rank][index]])
    }
    return Collector(self, operations)
  }

  /// Adds the results of some parcels of the own block.
  private func add(
    _ other: Piece, to result: Piece, by operations: ResultOperations,
    where isThere: (Parcel) -> Bool
  ) {
    for (index, parcel) in parcels[rank].enumerated() where isThere(parcel) {
      let range = layouts[rank][index]
      operations.add(rank, parcel.runs, result[range], other[range])
    }
  }

  /// The results of what a rank sees of an owner's block, in memory that has all.
  private func pieces(of result: Piece, _ owner: Int, seenBy rank: Int) -> [Piece] {
    parcels[owner].stretches { $0.visitors.contains(rank) }.map { result[layouts[owner][$0]] }
  }

  /// Results of one run.
  final class Collector {
    private let results: DirectResults
    private let operations: ResultOperations
    private var received = 0
    private var isReceiving = false

    fileprivate init(_ results: DirectResults, _ operations: ResultOperations) {
      self.results = results
      self.operations = operations
    }

    /// Where what this rank finds out about an owner's block is added up.
    func result(of owner: Int, _ parcel: Int) -> Piece {
      (results.results[owner] ?? results.own)[results.layouts[owner][parcel]]
    }

    /// Whether the place of an owner's result is free.
    func hasRoom(for owner: Int) throws(MPIError) -> Bool {
      guard let place = results.places[owner] else { return true }
      return try results.outgoing[place].isFinished()
    }

    /// Makes ready for a visit.
    func clear(_ owner: Int) {
      if owner == results.rank { return }
      for (index, parcel) in results.parcels[owner].enumerated()
      where parcel.visitors.contains(results.rank) {
        operations.clear(owner, parcel.runs, result(of: owner, index))
      }
    }

    /// Sends what a visit has found out.
    func sendHome(_ owner: Int, on wire: any Wire) throws(MPIError) {
      guard let place = results.places[owner], let result = results.results[owner] else { return }
      try results.outgoing[place].send(
        results.pieces(of: result, owner, seenBy: results.rank), of: owner, to: owner,
        tag: DirectResults.tag, on: wire)
    }

    /// Moves on what can be moved on; answers whether everything is here and gone.
    func advance(on wire: any Wire) throws(MPIError) -> Bool {
      var isOver = true
      for transfer in results.outgoing where try !transfer.isFinished() { isOver = false }
      while received < results.sources.count {
        if !isReceiving {
          isReceiving = true
          let source = results.sources[received]
          results.incoming.receive(
            into: results.pieces(of: results.arriving, results.rank, seenBy: source),
            of: results.rank, from: source, tag: DirectResults.tag, on: wire)
        }
        guard try results.incoming.isFinished() else { return false }
        let source = results.sources[received]
        results.add(results.arriving, to: results.sum, by: operations) {
          $0.visitors.contains(source)
        }
        isReceiving = false
        received += 1
      }
      return isOver
    }

    /// Adds what the others have to the rank's own part.
    func finish() {
      results.add(results.sum, to: results.own, by: operations) { $0.hops > 0 }
    }
  }
}
