import Attention

/// A ring of groups of ranks, stepped turn by turn: when each block arrives, when each rank has
/// computed on it, when what was found out about it is passed on.
///
/// It follows what `RotatingStream` and its lanes do:
/// - a group sends the block of a turn on as soon as it has it, and the next one has a place for
///   it, which is that of the block before; the turn is over when both transfers are;
/// - a member computes on the group's blocks of a turn when they are there and the turn before is
///   computed;
/// - results of a turn are sent when all members have computed on it and those of the groups before
///   have come; a turn may not begin before those of two turns ago are on their way;
/// - with results a rank keeps half of its own block for the end.
///
/// Blocks of a group's members travel side by side and are taken together. A link sends one thing
/// after the other.
struct RingSteps {
  /// Of each group, its members.
  let groups: [[Int]]
  /// Of each group, how far the blocks of its members go.
  let journeys: [GroupJourney]
  /// Of each group, how far the farthest of them go.
  let reach: [Int]
  /// Of each group, the tokens of them that go anywhere.
  private let sent: [Double]
  /// Whether all of a group's blocks that go anywhere go as far.
  private let areWhole: Bool
  /// Of each group, the way to the next.
  let ways: [GroupWay]
  /// Whether results follow the blocks.
  let hasResults: Bool
  /// Seconds that each rank computes on the block of an owner.
  let visit: VisitSeconds
  /// The standard deviation of a visit's time over its mean.
  let noise: Double

  init(
    groups: [[Int]], journeys: [GroupJourney], ways: [GroupWay], hasResults: Bool,
    visit: VisitSeconds, noise: Double
  ) {
    self.groups = groups
    self.journeys = journeys
    reach = journeys.map(\.reach)
    sent = journeys.map { $0.tokens(beyond: 0) }
    areWhole = journeys.allSatisfy(\.isWhole)
    self.ways = ways
    self.hasResults = hasResults
    self.visit = visit
    self.noise = noise
  }

  /// How it went.
  struct Outcome {
    /// When each rank is done.
    let ends: [Double]
    /// Seconds that each rank computes, what transfers take of its time included.
    let busy: [Double]
    /// Seconds that each rank computes.
    let computing: [Double]
  }

  /// Steps through all turns from time 0.
  ///
  /// - Parameter slowdown: how many times as long everything takes that needs a core.
  /// - Complexity: O(groups · ranks) time, O(ranks) memory.
  func run(slowdown: Double, progress: (_ share: Double) -> Void = { _ in }) -> Outcome {
    if let single = SingleRing(self) { return single.run(slowdown: slowdown, progress: progress) }
    let turns = 1 + reach.reduce(0, max)
    var clocks = RingClocks(of: self, slowdown: slowdown)
    for turn in 0..<turns {
      clocks.step(turn)
      if turn % 256 == 255 { progress(Double(turn + 1) / Double(turns)) }
    }
    return clocks.end()
  }

  /// The seconds for which links are busy with a group's blocks on all their way, at most.
  var longestSending: Double {
    let slowest = ways.reduce(0) { max($0, $1.secondsPerBlockToken + $1.secondsPerResultToken) }
    return slowest * journeys.reduce(0) { max($0, $1.tokenHops) }
  }

  /// Whose blocks a group has at a turn, if they come so far.
  @inline(__always)
  func origin(of group: Int, _ turn: Int) -> Int {
    let origin = group - turn
    return origin < 0 ? origin + groups.count : origin
  }

  /// Whether a group holds blocks at a turn.
  func holds(_ turn: Int, _ group: Int) -> Bool { turn <= reach[origin(of: group, turn)] }

  /// Whether a group sends the blocks of a turn on.
  @inline(__always)
  func travels(_ turn: Int, from group: Int) -> Bool {
    turn < reach[origin(of: group, turn)]
  }

  /// The tokens of blocks that a group sends on at a turn.
  @inline(__always)
  func tokens(leaving group: Int, _ turn: Int) -> Double {
    tokens(of: origin(of: group, turn), beyond: turn)
  }

  /// The tokens of a group's blocks that are sent further than so many groups.
  @inline(__always)
  func tokens(of group: Int, beyond turn: Int) -> Double {
    if turn >= reach[group] { return 0 }
    return areWhole ? sent[group] : journeys[group].tokens(beyond: turn)
  }

  /// The processor time that the transfers of a turn take of each member of a group: what it sends
  /// on and what it takes in, or took in last.
  func transferWork(of group: Int, _ turn: Int) -> Double {
    let count = groups.count
    if count == 1 { return 0 }
    let turn = min(turn, count - 2)
    let previous = group == 0 ? count - 1 : group - 1
    let sent = tokens(leaving: group, turn) * ways[group].workPerToken
    let received = tokens(leaving: previous, turn) * ways[previous].workPerToken
    return (sent + received) / Double(groups[group].count)
  }
}

/// How far the blocks of a group's ranks go.
struct GroupJourney {
  /// Tokens that are sent further than so many groups, by ascending numbers of groups.
  let steps: [(hops: Int, tokens: Double)]
  /// How far the farthest go.
  let reach: Int
  /// Tokens times how far they go.
  let tokenHops: Double
  /// Whether all that are sent go as far.
  var isWhole: Bool { steps.count <= 1 }

  /// - Parameter parts: tokens and how many groups on they are sent.
  init(_ parts: [(tokens: Int, hops: Int)]) {
    let hops = Set(parts.map(\.hops).filter { $0 > 0 }).sorted()
    steps = hops.map { end in
      (end, parts.reduce(0.0) { $0 + ($1.hops >= end ? Double($1.tokens) : 0) })
    }
    reach = hops.last ?? 0
    tokenHops = parts.reduce(0.0) { $0 + Double($1.tokens) * Double($1.hops) }
  }

  /// The tokens that are sent further than so many groups.
  @inline(__always)
  func tokens(beyond turn: Int) -> Double {
    for step in steps where step.hops > turn { return step.tokens }
    return 0
  }
}

/// The link from a group to the next.
struct GroupWay {
  let latency: Double
  let secondsPerBlockToken: Double
  let secondsPerResultToken: Double
  /// Processor time of sending a token and what comes of it, and as much of taking it in.
  let workPerToken: Double
}

/// How long ranks compute on blocks.
struct VisitSeconds {
  private let work: VisitWork
  /// Of each rank, seconds of a pair of one head, and all its heads and sequences.
  private let secondsPerPair: [Double]
  /// Of each rank, seconds on its own block.
  private let own: [Double]
  /// Seconds of visits whose pairs are not known in closed form.
  private let table: VisitTable?
  /// Seconds of a visit besides.
  private let overhead: Double

  /// - Parameters:
  ///   - shape: of what a rank computes.
  ///   - counts: of each rank, the tokens of its shard.
  init(
    work: VisitWork, _ problem: DenseProblem, shape: AttentionShape, counts: [Int],
    pass: AttentionPass, on cluster: Cluster
  ) {
    let flops = shape.flopsPerPair(pass) * Double(shape.queryHeads * shape.batch)
    func secondsOfPair(tokens: Double, isMasked: Bool) -> Double {
      flops
        / (cluster.kernel.flopsPerSecond(tokens: max(1, tokens), pass, isMasked: isMasked)
          * Double(cluster.threads))
    }
    let mean = Double(problem.tokens) / Double(counts.count)
    self.work = work
    overhead = cluster.visitSeconds
    table = work.table?.map { rank, owner, pairs in
      let (n, m) = (Double(counts[rank]), Double(counts[owner]))
      // Edges of a mask cost as much as the diagonal of a causal square whose rows see as many keys
      // on average.
      return pairs >= n * m
        ? pairs * secondsOfPair(tokens: (n * m).squareRoot(), isMasked: false)
        : pairs * secondsOfPair(tokens: 2 * pairs / n, isMasked: true)
    }
    secondsPerPair = counts.map {
      // What a kernel loses in a rectangle is about what it loses in a square of its area.
      secondsOfPair(
        tokens: (Double($0) * mean * work.shareOfSquare).squareRoot(),
        isMasked: work.isMaskedEverywhere)
    }
    own = counts.indices.map {
      work.pairs(rank: $0, owner: $0)
        * secondsOfPair(tokens: Double(counts[$0]), isMasked: problem.pattern != .full)
    }
  }

  /// The same as products of two numbers, of each rank and of each owner, for owners before and
  /// after a rank; nil if it is none.
  var factors:
    (
      own: [Double], earlier: (ofRank: [Double], ofOwner: [Double]),
      later: (ofRank: [Double], ofOwner: [Double]), overhead: Double
    )?
  {
    guard let (counts, earlier, later) = work.factors else { return nil }
    func timed(_ numbers: [Double]) -> [Double] { zip(numbers, secondsPerPair).map { $0 * $1 } }
    return (own, (timed(counts), earlier), (timed(later), counts), overhead)
  }

  @inline(__always)
  func seconds(rank: Int, owner: Int) -> Double {
    if let table {
      let seconds = work.value(of: table, rank: rank, owner: owner)
      return seconds == 0 ? 0 : seconds + overhead
    }
    if rank == owner { return own[rank] + overhead }
    let pairs = work.pairs(rank: rank, owner: owner)
    return pairs == 0 ? 0 : pairs * secondsPerPair[rank] + overhead
  }
}
