import Attention
import MPI
import Tensors

/// Every block goes from its owner to all ranks that see it at once, and results straight back.
///
/// There are no steps to wait for, which suits small shards; a rank holds all blocks that it sees.
final class DirectStream: BlockStream {
  private let sees: (_ rank: Int, _ owner: Int) -> Bool
  private let sizes: [Int]
  private let overlaps: Bool
  private let timeline: Timeline?
  private let ring: Communicator
  /// For each owner whose block this rank holds, where it starts.
  private let starts: [Int: Int]
  private let blocks: AlignedBuffer<UInt8>
  private var results: DirectResults?

  private static let blockTag = 0
  /// Room for results, each as large as the largest: the own one, the sum of others' parts of it, a
  /// part that comes in, and two on their way to others.
  static let resultPlaces = 5

  /// Makes the memory, called by all ranks together.
  ///
  /// - Parameters:
  ///   - sees: whether a rank has work to do on the block of an owner.
  ///   - sizes: for each rank, the bytes of its block.
  init(
    ranks: Int, sees: @escaping (_ rank: Int, _ owner: Int) -> Bool, sizes: [Int], overlaps: Bool,
    timeline: Timeline?, on world: borrowing Communicator
  ) throws(MPIError) {
    self.sees = sees
    self.sizes = sizes
    self.overlaps = overlaps
    self.timeline = timeline
    ring = try world.duplicate()
    var starts: [Int: Int] = [:]
    var end = 0
    for owner in 0..<ranks where owner == world.rank || sees(world.rank, owner) {
      starts[owner] = end
      end += aligned(sizes[owner])
    }
    self.starts = starts
    blocks = AlignedBuffer(zeros: end)
  }

  var traffic: Traffic { ring.traffic }
  var ownBlock: UnsafeMutableRawBufferPointer { unsafe block(of: ring.rank) }

  var ownResult: UnsafeMutableRawBufferPointer {
    guard let results else { preconditionFailure("no room was made for results") }
    return unsafe results.own
  }

  func reserveResults(_ sizes: [Int]) throws(MPIError) {
    if results != nil { return }
    let owners = others.filter { sees(ring.rank, $0) }
    let sources = others.reversed().filter { sees($0, ring.rank) }
    results = DirectResults(
      rank: ring.rank, sizes: sizes, owners: owners, sources: sources, timeline: timeline)
  }

  /// The other ranks, the one before this first, so that not all send to the same.
  private var others: [Int] {
    (1..<max(ring.size, 1)).map { (ring.rank - $0 + ring.size) % ring.size }
  }

  private func block(of owner: Int) -> UnsafeMutableRawBufferPointer {
    guard let start = starts[owner] else { preconditionFailure("rank \(owner) is not seen") }
    return unsafe UnsafeMutableRawBufferPointer(
      rebasing: blocks.unsafeMutableBytes[start..<start + sizes[owner]])
  }

  func run(
    results operations: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) -> Timing {
    var incoming: [Int: Transfer] = [:]
    for owner in others where sees(ring.rank, owner) {
      let transfer = Transfer("receive block", timeline)
      unsafe transfer.receive(
        into: block(of: owner), of: owner, from: owner, tag: Self.blockTag, on: ring)
      incoming[owner] = transfer
    }
    var outgoing: [Transfer] = []
    for rank in others.reversed() where sees(rank, ring.rank) {
      let transfer = Transfer("send block", timeline)
      try unsafe transfer.send(
        ownBlock, of: ring.rank, to: rank, tag: Self.blockTag, on: ring)
      outgoing.append(transfer)
    }
    let collector = operations == nil ? nil : results
    if let operations { collector?.begin(operations) }
    func areBlocksHere() throws(MPIError) -> Bool {
      var isOver = true
      for transfer in outgoing where try !transfer.isFinished() { isOver = false }
      for transfer in incoming.values where try !transfer.isFinished() { isOver = false }
      return isOver
    }
    func areResultsHere() throws(MPIError) -> Bool {
      guard let collector, let operations else { return true }
      return try collector.advance(operations, on: ring)
    }

    // Where results are sent, a half of the own block is kept for the end, to cover the last of them.
    let isSplit = operations != nil && ring.size > 1
    var stops: [(owner: Int, part: BlockPart)] = others.map { ($0, .whole) }
    stops.insert((ring.rank, isSplit ? .firstHalf : .whole), at: 0)
    if isSplit { stops.append((ring.rank, .secondHalf)) }

    var timing = Timing()
    var pace = PollPace()
    for (owner, part) in stops where sees(ring.rank, owner) {
      let start = ContinuousClock.now
      try ring.wait(for: "the block of rank \(owner)") { () throws(MPIError) in
        _ = try areResultsHere()
        if try !areBlocksHere(), !overlaps { return false }
        if let transfer = incoming[owner], try !transfer.isFinished() { return false }
        return try collector?.hasRoom(for: owner) ?? true
      }
      let ready = ContinuousClock.now
      if let operations { collector?.clear(owner, operations) }
      var failure: MPIError?
      unsafe visit(
        Visit(
          owner: owner, part: part, block: unsafe block(of: owner),
          result: unsafe collector?.result(of: owner)
            ?? UnsafeMutableRawBufferPointer(start: nil, count: 0))
      ) {
        if !overlaps || !pace.isDue() { return }
        do throws(MPIError) {
          _ = try areBlocksHere()
          _ = try areResultsHere()
        } catch { failure = failure ?? error }
      }
      if let failure { throw failure }
      try collector?.sendHome(owner, on: ring)
      let end = ContinuousClock.now
      timing.waiting += ready - start
      timing.computing += end - ready
      timeline?.note(.waiting, "wait for \(owner)", from: start, to: ready)
      timeline?.note(.computing, "block of \(owner)", from: ready, to: end)
    }
    let start = ContinuousClock.now
    try ring.wait(for: "the last transfers") { () throws(MPIError) in
      let blocks = try areBlocksHere()
      return try areResultsHere() && blocks
    }
    if let operations { collector?.finish(operations) }
    timing.waiting += ContinuousClock.now - start
    return timing
  }

  func close() {}
}

/// Results on their way straight home.
///
/// What the other ranks have found out is added up by itself, in an order that does not depend on
/// who is first, and to the rank's own part at the end, when nobody computes on it any more.
private final class DirectResults {
  private let rank: Int
  private let sizes: [Int]
  /// Ranks that send results here.
  private let sources: [Int]
  private let memory: AlignedBuffer<UInt8>
  private let outgoing: [Transfer]
  private let incoming: Transfer
  private var received = 0
  private var isReceiving = false
  /// For each owner, which of two places its result takes.
  private let places: [Int: Int]

  private static let tag = 1

  init(rank: Int, sizes: [Int], owners: [Int], sources: [Int], timeline: Timeline?) {
    self.rank = rank
    self.sizes = sizes
    self.sources = sources
    places = Dictionary(uniqueKeysWithValues: owners.enumerated().map { ($1, $0 % 2) })
    outgoing = (0..<2).map { _ in Transfer("send result", timeline) }
    incoming = Transfer("receive result", timeline)
    memory = AlignedBuffer(zeros: DirectStream.resultPlaces * aligned(sizes.max() ?? 0))
  }

  var own: UnsafeMutableRawBufferPointer { unsafe bytes(0, of: rank) }
  private var sum: UnsafeMutableRawBufferPointer { unsafe bytes(1, of: rank) }
  private var arriving: UnsafeMutableRawBufferPointer { unsafe bytes(2, of: rank) }

  private func bytes(_ place: Int, of owner: Int) -> UnsafeMutableRawBufferPointer {
    let start = place * aligned(sizes.max() ?? 0)
    return unsafe UnsafeMutableRawBufferPointer(
      rebasing: memory.unsafeMutableBytes[start..<start + sizes[owner]])
  }

  func result(of owner: Int) -> UnsafeMutableRawBufferPointer {
    guard let place = places[owner] else { return unsafe own }
    return unsafe bytes(3 + place, of: owner)
  }

  func begin(_ operations: ResultOperations) {
    unsafe operations.clear(rank, own)
    unsafe operations.clear(rank, sum)
    received = 0
  }

  /// Whether the place of an owner's result is free.
  func hasRoom(for owner: Int) throws(MPIError) -> Bool {
    guard let place = places[owner] else { return true }
    return try outgoing[place].isFinished()
  }

  func clear(_ owner: Int, _ operations: ResultOperations) {
    if owner != rank { unsafe operations.clear(owner, result(of: owner)) }
  }

  func sendHome(_ owner: Int, on ring: borrowing Communicator) throws(MPIError) {
    guard let place = places[owner] else { return }
    try unsafe outgoing[place].send(
      result(of: owner), of: owner, to: owner, tag: Self.tag, on: ring)
  }

  /// Moves on what can be moved on; answers whether everything is here and gone.
  func advance(_ operations: ResultOperations, on ring: borrowing Communicator) throws(MPIError)
    -> Bool
  {
    var isOver = true
    for transfer in outgoing where try !transfer.isFinished() { isOver = false }
    while received < sources.count {
      if !isReceiving {
        isReceiving = true
        unsafe incoming.receive(
          into: arriving, of: rank, from: sources[received], tag: Self.tag, on: ring)
      }
      guard try incoming.isFinished() else { return false }
      unsafe operations.add(rank, sum, arriving)
      isReceiving = false
      received += 1
    }
    return isOver
  }

  func finish(_ operations: ResultOperations) {
    unsafe operations.add(rank, own, sum)
  }
}
