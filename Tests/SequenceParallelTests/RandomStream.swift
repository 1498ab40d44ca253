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
  /// For each rank, for each owner, which of its runs it has work to do on.
  let sees: [[[Bool]]]
  /// For each owner, for each run, the bytes of its block and of its result.
  let sizes: [[Int]]
  let resultSizes: [[Int]]
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
    // As a rule what one run is to a rank the next is too.
    let change = [0.0, 0.2, 0.7][Int.random(in: 0..<3, using: &random)]
    let counts = (0..<ranks).map { _ in Int.random(in: 0...4, using: &random) }
    sees = (0..<ranks).map { _ in
      counts.map { count in
        var isSeen = Double.random(in: 0..<1, using: &random) < density
        return (0..<count).map { _ in
          if Double.random(in: 0..<1, using: &random) < change {
            isSeen = Double.random(in: 0..<1, using: &random) < density
          }
          return isSeen
        }
      }
    }
    sizes = counts.map { count in
      (0..<count).map { _ in Int.random(in: 0...150, using: &random) }
    }
    resultSizes = counts.map { count in
      (0..<count).map { _ in 4 * (ranks + 1 + Int.random(in: 0...20, using: &random)) }
    }
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
        parcels: meetings.parcelsByVisitors, sizes: sizes, overlaps: overlaps, timeline: nil,
        on: wire)
    }
  }

  /// Runs the stream on all ranks.
  ///
  /// - Throws: unless each rank meets each run that it sees once, every byte of it as its owner
  ///   wrote it for the whole of the visit, each owner gets the sum of what all have found out, and
  ///   what nobody sees is not sent.
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
    var met = sizes.map { [Int](repeating: 0, count: $0.count) }
    var fault: Fault?
    _ = try stream.run(results: hasResults ? sums : nil) { visit, poll in
      let weight = Self.weight(of: visit.part)
      for index in visit.runs { met[visit.owner][index] += weight }
      let first = sizes[visit.owner][..<visit.runs.lowerBound].reduce(0, +)
      let size = sizes[visit.owner][visit.runs].reduce(0, +)
      let content = [UInt8](content(of: visit.owner, run: run)[first..<first + size])
      for _ in 0..<3 {
        if visit.block.copiedBytes != content {
          fault = fault ?? Fault("rank \(rank) reads something else than \(visit.owner) wrote")
        }
        poll()
      }
      guard hasResults else { return }
      for result in results(visit.owner, visit.runs, at: visit.result) {
        // Read, wait and write: what anybody else adds to the same number meanwhile is lost.
        let (own, all) = (result.word(rank), result.word(ranks))
        poll()
        result.setWord(rank, to: own + Int32(weight))
        result.setWord(ranks, to: all + Int32(weight))
      }
    }
    if let fault { throw fault }
    let meets = (0..<ranks).map { rank in sizes.indices.map { visited(rank, $0) } }
    try require(
      met == meets[rank].map { $0.map { $0 ? Self.weight(of: .whole) : 0 } },
      "rank \(rank) has met \(met)")
    for (owner, seen) in sees[rank].enumerated() {
      try require(
        zip(seen, meets[rank][owner]).allSatisfy { !$0 || $1 }, "rank \(rank) misses a run")
    }
    guard hasResults else { return }
    let all = results(rank, sizes[rank].indices, at: stream.ownResult)
    for (index, result) in all.enumerated() {
      // A number of each rank, and one to which all have added.
      let found = (0...ranks).map { result.word($0) }
      let wanted = meets.map { $0[rank][index] ? Int32(Self.weight(of: .whole)) : 0 }
      try require(
        found == wanted + [wanted.reduce(0, +)], "rank \(rank) gets \(found) for run \(index)")
    }
  }

  /// The results of some runs, one after the other.
  private func results(_ owner: Int, _ runs: Range<Int>, at piece: Piece) -> [Piece] {
    var end = 0
    return resultSizes[owner][runs].map { size in
      defer { end += size }
      return piece[end..<end + size]
    }
  }

  /// Which runs of an owner a rank meets: those that it sees, and what goes the same way.
  private func visited(_ rank: Int, _ owner: Int) -> [Bool] {
    let seen = sees[rank][owner]
    return seen.indices.map { index in
      func isAlike(_ other: Int) -> Bool {
        switch kind {
        case .rotating: hops(owner, other) == hops(owner, index)
        case .direct:
          sees.indices.allSatisfy {
            $0 == owner || sees[$0][owner][other] == sees[$0][owner][index]
          }
        }
      }
      var (first, end) = (index, index + 1)
      while first > 0, isAlike(first - 1) { first -= 1 }
      while end < seen.count, isAlike(end) { end += 1 }
      return seen[first..<end].contains(true)
    }
  }

  /// How many groups on a run is sent.
  private func hops(_ owner: Int, _ run: Int) -> Int {
    let home = groups.firstIndex { $0.contains(owner) } ?? 0
    return groups.indices.last { turn in
      groups[(home + turn) % groups.count].contains { sees[$0][owner][run] }
    } ?? 0
  }

  /// What a block holds, another in each run.
  private func content(of owner: Int, run: Int) -> [UInt8] {
    var random = SplitMix(seed: UInt64(100 * run + owner))
    return (0..<sizes[owner].reduce(0, +)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }

  private static func weight(of part: BlockPart) -> Int {
    switch part {
    case .whole: 3
    case .firstHalf: 1
    case .secondHalf: 2
    }
  }

  /// Results are numbers of 32 bits.
  private var sums: ResultOperations {
    ResultOperations(
      clear: { owner, runs, result in
        precondition(result.byteCount == resultSizes[owner][runs].reduce(0, +), "another parcel")
        result.fill(with: 0)
      },
      add: { owner, runs, result, other in
        precondition(
          result.byteCount == resultSizes[owner][runs].reduce(0, +)
            && other.byteCount == result.byteCount, "another parcel")
        for index in 0..<result.byteCount / 4 {
          result.setWord(index, to: result.word(index) + other.word(index))
        }
      })
  }

  private var schedule: RingSchedule {
    RingSchedule(groups: groups, meetings: meetings)
  }

  private var meetings: Meetings {
    Meetings(ranks: ranks, runs: sizes.map(\.count)) { sees[$0][$1][$2] }
  }

  private func bytesSent(by rank: Int) -> Int {
    let results = hasResults ? resultSizes : resultSizes.map { $0.map { _ in 0 } }
    switch kind {
    case .rotating:
      let group = schedule.places[rank].group
      return schedule.slots(carriedBy: rank).reduce(0) { sum, slot in
        (0..<schedule.turns).reduce(sum) { sum, turn in
          let origin = groups[(group - turn + groups.count) % groups.count]
          guard slot < origin.count else { return sum }
          let owner = origin[slot]
          return sizes[owner].indices.reduce(sum) { sum, run in
            let hops = hops(owner, run)
            return sum + (turn < hops ? sizes[owner][run] : 0)
              + (turn > 0 && turn <= hops ? results[owner][run] : 0)
          }
        }
      }
    case .direct:
      let others = (0..<ranks).filter { $0 != rank }
      return others.reduce(0) { sum, other in
        let blocks = zip(sees[other][rank], sizes[rank]).reduce(0) { $0 + ($1.0 ? $1.1 : 0) }
        let home = zip(sees[rank][other], results[other]).reduce(0) { $0 + ($1.0 ? $1.1 : 0) }
        return sum + blocks + home
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
