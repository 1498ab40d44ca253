import MPI

/// Results on their way straight home, and the memory for them.
///
/// What the other ranks have found out is added up by itself, in an order that does not depend on
/// who is first, and to the rank's own part at the end, when nobody computes on it any more.
final class DirectResults {
  private let rank: Int
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
  ///   - most: the most of any rank.
  static func tokens(own: Double, most: Double) -> Double { 3 * own + 2 * most }

  /// - Parameters:
  ///   - sizes: for each owner, the bytes of its result.
  ///   - owners: the other ranks whose blocks this one sees, in the order of its visits.
  ///   - sources: the other ranks that see this one's, in the order in which results are added.
  init(rank: Int, sizes: [Int], owners: [Int], sources: [Int], timeline: Timeline?) {
    self.rank = rank
    self.sources = sources
    let largest = sizes.max() ?? 0
    let pieces = StreamMemory.pieces(sizes: [
      sizes[rank], sizes[rank], sizes[rank], largest, largest,
    ])
    (own, sum, arriving) = (pieces[0], pieces[1], pieces[2])
    let places = Dictionary(uniqueKeysWithValues: owners.enumerated().map { ($1, $0 % 2) })
    self.places = places
    results = Dictionary(
      uniqueKeysWithValues: owners.map { ($0, pieces[3 + places[$0, default: 0]][0..<sizes[$0]]) })
    outgoing = (0..<2).map { _ in Transfer("send result", timeline) }
    incoming = Transfer("receive result", timeline)
  }

  /// Begins a run.
  func collector(_ operations: ResultOperations) -> Collector {
    operations.clear(rank, own)
    operations.clear(rank, sum)
    return Collector(self, operations)
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
    func result(of owner: Int) -> Piece { results.results[owner] ?? results.own }

    /// Whether the place of an owner's result is free.
    func hasRoom(for owner: Int) throws(MPIError) -> Bool {
      guard let place = results.places[owner] else { return true }
      return try results.outgoing[place].isFinished()
    }

    /// Makes ready for a visit.
    func clear(_ owner: Int) {
      if owner != results.rank { operations.clear(owner, result(of: owner)) }
    }

    /// Sends what a visit has found out.
    func sendHome(_ owner: Int, on wire: any Wire) throws(MPIError) {
      guard let place = results.places[owner] else { return }
      try results.outgoing[place].send(
        [result(of: owner)], of: owner, to: owner, tag: DirectResults.tag, on: wire)
    }

    /// Moves on what can be moved on; answers whether everything is here and gone.
    func advance(on wire: any Wire) throws(MPIError) -> Bool {
      var isOver = true
      for transfer in results.outgoing where try !transfer.isFinished() { isOver = false }
      while received < results.sources.count {
        if !isReceiving {
          isReceiving = true
          results.incoming.receive(
            into: [results.arriving], of: results.rank, from: results.sources[received],
            tag: DirectResults.tag, on: wire)
        }
        guard try results.incoming.isFinished() else { return false }
        operations.add(results.rank, results.sum, results.arriving)
        isReceiving = false
        received += 1
      }
      return isOver
    }

    /// Adds what the others have to the rank's own part.
    func finish() { operations.add(results.rank, results.own, results.sum) }
  }
}
