public import Compute
public import MPI
public import SequenceParallel
public import Sharding
public import Tensors

/// The ranks of a job as operators see them: who holds which tokens, how to reach the others, and
/// the threads of this one.
public final class RankLine {
  /// Which rank holds which tokens.
  public let sharding: Sharding
  /// The threads of this rank.
  public let team: ThreadTeam
  /// The most threads that any rank has.
  let mostThreads: Int
  /// Whether passes follow each other, as those of layers do, so that a rank that is done goes on
  /// with the next, and others wait for their first state once and not in every pass.
  public var goesOn = false
  /// What messages travel on.
  let wire: any Wire
  /// Where the time of passes goes.
  public internal(set) var timing = Timing()
  /// Told of units of work as they are done.
  let progress: (Int) -> Void

  /// Takes a wire.
  ///
  /// - Parameter mostThreads: the most threads that any rank has; nil if all have as many.
  package init(
    _ wire: any Wire, sharding: Sharding, team: ThreadTeam, mostThreads: Int? = nil,
    progress: @escaping (Int) -> Void = { _ in }
  ) {
    precondition(sharding.ranks == wire.size, "a shard for each rank")
    self.wire = wire
    self.sharding = sharding
    self.team = team
    self.mostThreads = mostThreads ?? team.threads
    self.progress = progress
  }

  /// Connects the ranks of a communicator, called by all of them together.
  public convenience init(
    on world: borrowing Communicator, sharding: Sharding, team: ThreadTeam,
    progress: @escaping (Int) -> Void = { _ in }
  ) throws(MPIError) {
    self.init(
      try MPIWire(duplicating: world), sharding: sharding, team: team,
      mostThreads: try world.allReduce(team.threads, with: .max), progress: progress)
  }

  /// This rank.
  public var rank: Int { wire.rank }

  /// How many ranks there are.
  public var ranks: Int { wire.size }

  /// Messages of this rank so far.
  public var traffic: Traffic { wire.traffic }

  /// Where the tokens of this rank stand.
  public var runs: [PositionRange] { sharding.shards[rank] }

  /// How many tokens this rank holds of a sequence.
  public var tokens: Int { sharding.tokenCount(of: rank) }

  /// The next rank after this one that holds tokens, in the order of positions or against it.
  func neighbour(isReverse: Bool) -> Int? {
    let others = isReverse ? Array((0..<rank).reversed()) : Array(rank + 1..<max(ranks, rank + 1))
    return others.first { !sharding.shards[$0].isEmpty }
  }

  /// Whether no other rank holds tokens.
  var isAlone: Bool { neighbour(isReverse: true) == nil && neighbour(isReverse: false) == nil }

  /// Of how many groups of units this rank first computes what its tokens do to their states.
  ///
  /// - Parameters:
  ///   - groups: how many there are.
  ///   - isReverse: whether states go against the order of positions.
  package func headStart(groups: Int, isReverse: Bool) -> Int {
    let others = isReverse ? 0..<rank : rank + 1..<max(ranks, rank + 1)
    let holders = sharding.shards.count { !$0.isEmpty }
    // If it counts in every pass it has to be worth that: ranks would wait longer than compute.
    if goesOn && holders <= groups + 1 { return 0 }
    return min(groups, others.count { !sharding.shards[$0].isEmpty })
  }

  /// The rank that holds the last token, and 0 if there is none.
  var lastRank: Int { (0..<ranks).last { !sharding.shards[$0].isEmpty } ?? 0 }

  /// The rank that holds the first token, and 0 if there is none.
  var firstRank: Int { (0..<ranks).first { !sharding.shards[$0].isEmpty } ?? 0 }

  /// Waits for messages.
  func wait(
    for what: @autoclosure () -> String, until isOver: () throws(MPIError) -> Bool
  ) throws(MPIError) {
    let start = ContinuousClock.now
    try wire.wait(for: what(), until: isOver)
    timing.waiting += .now - start
  }

  /// Computes on all threads: units of work that write to disjoint places.
  ///
  /// - Parameters:
  ///   - count: units.
  ///   - look: moves transfers on.
  ///   - body: is given a unit, and a function to call now and then.
  func compute(
    _ count: Int, look: () -> Void = {}, _ body: @Sendable (_ unit: Int, _ poll: Poll) -> Void
  ) {
    let start = ContinuousClock.now
    withoutActuallyEscaping(body) { body in
      team.run(
        UnitPass(unitCount: count, body: body),
        poll: { work in
          if work > 0 { progress(work) }
          look()
        })
    }
    timing.computing += .now - start
  }
}

/// To be called now and then by who computes for long, so that transfers move on.
struct Poll {
  let look: () -> Void

  func callAsFunction() { look() }
}

private struct UnitPass: ThreadedPass {
  let unitCount: Int
  let body: @Sendable (_ unit: Int, _ poll: Poll) -> Void

  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    withoutActuallyEscaping(poll) { poll in
      let look = Poll { poll(0) }
      while let unit = units.next() {
        body(unit, look)
        poll(1)
      }
    }
  }
}
