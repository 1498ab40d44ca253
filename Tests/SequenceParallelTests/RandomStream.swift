import Attention
import Loopback
import MPI
import SequenceParallel

/// A stream drawn at random, and what every rank finds out by running it.
struct RandomStream {
  /// Which stream.
  enum Kind { case rotating, direct }

  let seed: UInt64
  let kind: Kind
  let groups: [[Int]]
  let sees: [[Bool]]
  let sizes: [Int]
  let resultSizes: [Int]
  let hasResults: Bool
  let overlaps: Bool
  let runs: Int
  let ranks: Int

  init(seed: UInt64, kind: Kind) {
    self.seed = seed
    self.kind = kind
    var random = SplitMix(seed: seed)
    let ranks = Int.random(in: 1...9, using: &random)
    self.ranks = ranks
    var groups: [[Int]] = []
    for rank in (0..<ranks).shuffled(using: &random) {
      let group = Int.random(in: 0...groups.count, using: &random)
      if group == groups.count { groups.append([rank]) } else { groups[group].append(rank) }
    }
    self.groups = groups
    let density = [0.1, 0.5, 0.9, 1.0][Int.random(in: 0..<4, using: &random)]
    sees = (0..<ranks).map { _ in
      (0..<ranks).map { _ in Double.random(in: 0..<1, using: &random) < density }
    }
    sizes = (0..<ranks).map { _ in Int.random(in: 0...300, using: &random) }
    resultSizes = (0..<ranks).map { _ in 4 * (ranks + 1 + Int.random(in: 0...20, using: &random)) }
    hasResults = Bool.random(using: &random)
    overlaps = Int.random(in: 0..<4, using: &random) > 0
    runs = Int.random(in: 1...3, using: &random)
  }

  private func stream(on wire: any Wire) throws -> any BlockStream {
    switch kind {
    case .rotating:
      try RotatingStream(
        schedule: schedule, sizes: sizes, overlaps: overlaps, timeline: nil, on: wire)
    case .direct:
      DirectStream(
        sees: { sees[$0][$1] }, sizes: sizes, overlaps: overlaps, timeline: nil, on: wire)
    }
  }

  /// Runs the stream on all ranks.
  ///
  /// - Throws: unless each rank meets each block that it sees once, every byte of it as its owner
  ///   wrote it for the whole of the visit, and each owner gets the sum of what all have found out.
  func check() throws {
    try LoopbackJob.run(ranks: ranks, seed: seed) { wire in
      let stream = try stream(on: wire)
      if hasResults { try stream.reserveResults(resultSizes) }
      for run in 0..<runs { try self.run(run, of: stream, on: wire) }
      try require(
        stream.traffic.bytesSent == runs * bytesSent(by: wire.rank),
        "\(stream.traffic.bytesSent) bytes were sent, not \(runs * bytesSent(by: wire.rank))")
      try stream.close()
    }
  }

  private func run(_ run: Int, of stream: any BlockStream, on wire: any Wire) throws {
    let rank = wire.rank
    stream.ownBlock.write(content(of: rank, run: run), at: 0)
    var met = [Int](repeating: 0, count: ranks)
    var fault: Fault?
    _ = try stream.run(results: hasResults ? Self.sums : nil) { visit, poll in
      let weight = Self.weight(of: visit.part)
      met[visit.owner] += weight
      let content = content(of: visit.owner, run: run)
      for _ in 0..<3 {
        if visit.block.copiedBytes != content {
          fault = fault ?? Fault("rank \(rank) reads something else than \(visit.owner) wrote")
        }
        poll()
      }
      guard hasResults else { return }
      // Read, wait and write: what anybody else adds to the same number meanwhile is lost.
      let (own, all) = (visit.result.word(rank), visit.result.word(ranks))
      poll()
      visit.result.setWord(rank, to: own + Int32(weight))
      visit.result.setWord(ranks, to: all + Int32(weight))
    }
    if let fault { throw fault }
    try require(
      met == sees[rank].map { $0 ? Self.weight(of: .whole) : 0 },
      "rank \(rank) has met \(met)")
    guard hasResults else { return }
    // A number of each rank, and one to which all have added.
    let found = (0...ranks).map { stream.ownResult.word($0) }
    let wanted = sees.map { $0[rank] ? Int32(Self.weight(of: .whole)) : 0 }
    try require(found == wanted + [wanted.reduce(0, +)], "rank \(rank) gets \(found)")
  }

  /// What a block holds, another in each run.
  private func content(of owner: Int, run: Int) -> [UInt8] {
    var random = SplitMix(seed: UInt64(100 * run + owner))
    return (0..<sizes[owner]).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }

  private static func weight(of part: BlockPart) -> Int {
    switch part {
    case .whole: 3
    case .firstHalf: 1
    case .secondHalf: 2
    }
  }

  /// Results are numbers of 32 bits.
  private static var sums: ResultOperations {
    ResultOperations(
      clear: { _, result in result.fill(with: 0) },
      add: { _, result, other in
        for index in 0..<result.byteCount / 4 {
          result.setWord(index, to: result.word(index) + other.word(index))
        }
      })
  }

  private var schedule: RingSchedule {
    RingSchedule(groups: groups, meetings: Meetings(ranks: ranks) { sees[$0][$1] })
  }

  private func bytesSent(by rank: Int) -> Int {
    let results = hasResults ? resultSizes : resultSizes.map { _ in 0 }
    switch kind {
    case .rotating:
      let group = schedule.places[rank].group
      return schedule.slots(carriedBy: rank).reduce(0) { sum, slot in
        (0..<schedule.turns).reduce(sum) { sum, turn in
          guard let owner = schedule.owner(group: group, turn: turn, slot: slot) else { return sum }
          let goesOn = turn < schedule.hops[owner]
          return sum + (goesOn ? sizes[owner] : 0) + (turn > 0 ? results[owner] : 0)
        }
      }
    case .direct:
      let others = (0..<ranks).filter { $0 != rank }
      return others.reduce(0) {
        $0 + (sees[$1][rank] ? sizes[rank] : 0) + (sees[rank][$1] ? results[$1] : 0)
      }
    }
  }

  /// What is wrong.
  struct Fault: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
  }

  private func require(_ isRight: Bool, _ what: @autoclosure () -> String) throws {
    if !isRight { throw Fault(what()) }
  }
}

extension Piece {
  /// A number of 32 bits.
  func word(_ index: Int) -> Int32 {
    unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 4 * index, as: Int32.self)
  }

  /// Writes a number of 32 bits.
  func setWord(_ index: Int, to value: Int32) {
    var bytes = mutableBytes
    bytes.storeBytes(of: value, toByteOffset: 4 * index, as: Int32.self)
  }
}
