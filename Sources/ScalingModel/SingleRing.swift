/// A ring whose groups are single ranks, without noise, whose visits are products of two numbers:
/// the same steps as ``RingSteps``, in loops over neighbours.
///
/// At a turn t the blocks of owners r − t are at the ranks r: of those before the rank as long as
/// r ≥ t, and of those after it else. Either is a stretch of ranks that are gone through in order.
struct SingleRing {
  private let ring: RingSteps
  private let count: Int
  private let own: [Double]
  private let earlier: (ofRank: [Double], ofOwner: [Double])
  private let later: (ofRank: [Double], ofOwner: [Double])
  private let overhead: Double

  /// Whether blocks go from each rank to the one before, where "rank" is the place in the ring.
  private let isReversed: Bool

  /// Nil if the ring is another one.
  init?(_ ring: RingSteps) {
    let (groups, count) = (ring.groups, ring.groups.count)
    guard ring.noise == 0, count > 1, groups.allSatisfy({ $0.count == 1 }),
      let factors = ring.visit.factors
    else { return nil }
    let isAscending = groups.indices.allSatisfy { groups[$0][0] == $0 }
    isReversed = groups.indices.allSatisfy { groups[$0][0] == count - 1 - $0 }
    guard isAscending || isReversed else { return nil }
    (self.ring, self.count, overhead) = (ring, count, factors.overhead)
    if isReversed {
      func turned(
        _ pair: (ofRank: [Double], ofOwner: [Double])
      ) -> (ofRank: [Double], ofOwner: [Double]) {
        (pair.ofRank.reversed(), pair.ofOwner.reversed())
      }
      // Whose place is before has a higher number.
      (own, earlier, later) = (
        factors.own.reversed(), turned(factors.later), turned(factors.earlier)
      )
    } else {
      (own, earlier, later) = (factors.own, factors.earlier, factors.later)
    }
  }

  /// Where the ranks are.
  private struct State {
    var begins: [Double]
    var computed: [Double]
    var computing: [Double]
    var busy: [Double]
    /// The processor time of the transfers of a turn.
    var transferring: [Double]
    var free: [Double]
    var arrives: [Double]
    var posted: [Double]
    var delivered: [Double]
    /// Of each owner, the tokens of its block that are sent further than the groups of the turn,
    /// and of the turn before.
    var tokens: [Double]
    var tokensBefore: [Double]

    init(_ count: Int) {
      let zeros = [Double](repeating: 0, count: count)
      (begins, computed, computing, transferring, free) = (zeros, zeros, zeros, zeros, zeros)
      (arrives, posted, delivered, tokens, tokensBefore) = (zeros, zeros, zeros, zeros, zeros)
      busy = zeros
    }
  }

  /// A stretch of ranks, and how far on the owners are whose blocks are there.
  private typealias Stretch = (ranks: Range<Int>, shift: Int)

  /// Steps through all turns from time 0.
  ///
  /// - Complexity: O(P²) time, O(P) memory.
  func run(slowdown: Double, progress: (_ share: Double) -> Void) -> RingSteps.Outcome {
    let turns = 1 + ring.reach.reduce(0, max)
    // Which blocks lose a part at which turn.
    var losses = [[Int]](repeating: [], count: turns)
    for (owner, journey) in ring.journeys.enumerated() {
      for step in journey.steps { losses[step.hops].append(owner) }
    }
    var state = State(count)
    for owner in 0..<count { state.tokens[owner] = ring.journeys[owner].tokens(beyond: 0) }
    state.tokensBefore = state.tokens
    let works = ring.ways.map { $0.workPerToken * slowdown }
    let areFree = works.allSatisfy { $0 == 0 }
    for turn in 0..<turns {
      for owner in losses[turn] {
        state.tokens[owner] = ring.journeys[owner].tokens(beyond: turn)
      }
      let stretches: [Stretch] = [(0..<turn, count - turn), (turn..<count, -turn)]
      for stretch in stretches { sendBlocks(turn, stretch, &state) }
      if !areFree { transfer(turn, works, &state) }
      for stretch in stretches { compute(turn, slowdown, stretch, &state) }
      let before = ring.hasResults ? state.posted : []
      if ring.hasResults, turn > 0 { sendResults(turn, stretches, &state) }
      begin(turn, before, &state)
      if ring.hasResults {
        for owner in losses[turn] { state.tokensBefore[owner] = state.tokens[owner] }
      }
      if turn % 256 == 255 { progress(Double(turn + 1) / Double(turns)) }
    }
    return end(slowdown, state)
  }

  /// Blocks of a turn on their way to the next rank.
  private func sendBlocks(_ turn: Int, _ stretch: Stretch, _ state: inout State) {
    for rank in stretch.ranks where turn < ring.reach[rank + stretch.shift] {
      let next = rank + 1 == count ? 0 : rank + 1
      var start = max(state.begins[rank], state.begins[next], state.free[rank])
      if turn >= 2 { start = max(start, state.computed[next]) }
      let end =
        start + state.tokens[rank + stretch.shift] * ring.ways[rank].secondsPerBlockToken
      state.free[rank] = end
      state.arrives[rank] = end + ring.ways[rank].latency
    }
  }

  /// The processor time of transfers of a turn.
  private func transfer(_ turn: Int, _ works: [Double], _ state: inout State) {
    let turn = min(turn, count - 2)
    for rank in 0..<count {
      let previous = rank == 0 ? count - 1 : rank - 1
      let (origin, before) = (ring.origin(of: rank, turn), ring.origin(of: previous, turn))
      state.transferring[rank] =
        (turn < ring.reach[origin] ? ring.journeys[origin].tokens(beyond: turn) : 0) * works[rank]
        + (turn < ring.reach[before] ? ring.journeys[before].tokens(beyond: turn) : 0)
        * works[previous]
    }
  }

  /// Computing on the blocks of a turn.
  private func compute(
    _ turn: Int, _ slowdown: Double, _ stretch: Stretch, _ state: inout State
  ) {
    if turn == 0 {
      let half = ring.hasResults ? 0.5 : 1
      for rank in stretch.ranks {
        take((own[rank] + overhead) * half * slowdown, by: rank, &state)
      }
    } else if stretch.shift < 0 {
      for rank in stretch.ranks where turn <= ring.reach[rank + stretch.shift] {
        let pairs = earlier.ofRank[rank] * earlier.ofOwner[rank + stretch.shift]
        take(pairs == 0 ? 0 : (pairs + overhead) * slowdown, by: rank, &state)
      }
    } else {
      for rank in stretch.ranks where turn <= ring.reach[rank + stretch.shift] {
        let pairs = later.ofRank[rank] * later.ofOwner[rank + stretch.shift]
        take(pairs == 0 ? 0 : (pairs + overhead) * slowdown, by: rank, &state)
      }
    }
  }

  @inline(__always)
  private func take(_ work: Double, by rank: Int, _ state: inout State) {
    state.computing[rank] += work
    state.busy[rank] += work + state.transferring[rank]
    state.computed[rank] =
      max(state.computed[rank], state.begins[rank]) + work + state.transferring[rank]
  }

  /// Results of a turn, which wait for those that come with it.
  private func sendResults(_ turn: Int, _ stretches: [Stretch], _ state: inout State) {
    let incoming = state.delivered
    for stretch in stretches {
      for rank in stretch.ranks where turn <= ring.reach[rank + stretch.shift] {
        let previous = rank == 0 ? count - 1 : rank - 1
        let posted = max(state.computed[rank], turn > 1 ? incoming[previous] : 0)
        state.posted[rank] = posted
        let end =
          max(state.free[rank], posted)
          + state.tokensBefore[rank + stretch.shift] * ring.ways[rank].secondsPerResultToken
        state.free[rank] = end
        state.delivered[rank] = end + ring.ways[rank].latency
      }
    }
  }

  /// When the next turn begins.
  private func begin(_ turn: Int, _ before: [Double], _ state: inout State) {
    var isSent = turn < ring.reach[ring.origin(of: count - 1, turn)]
    var arrived = state.arrives[count - 1]
    var origin = ring.origin(of: 0, turn)
    for rank in 0..<count {
      var begin = isSent ? max(state.begins[rank], arrived) : state.begins[rank]
      isSent = turn < ring.reach[origin]
      arrived = state.arrives[rank]
      if isSent { begin = max(begin, arrived) }
      if ring.hasResults, turn > 1 { begin = max(begin, before[rank]) }
      state.begins[rank] = begin
      origin = origin + 1 == count ? 0 : origin + 1
    }
  }

  private func end(_ slowdown: Double, _ state: State) -> RingSteps.Outcome {
    var (ends, computing, busy) = (state.computed, state.computing, state.busy)
    for rank in 0..<count {
      let reach = ring.reach[rank]
      if ring.hasResults {
        // The second half of its own block.
        let work = (own[rank] + overhead) * 0.5 * slowdown
        computing[rank] += work
        busy[rank] += work
        let home = reach > 0 ? state.delivered[(rank + reach) % count] : 0
        ends[rank] = max(ends[rank] + work, home)
      }
      ends[rank] = max(ends[rank], state.free[rank])
    }
    func byRank(_ numbers: [Double]) -> [Double] { isReversed ? numbers.reversed() : numbers }
    return RingSteps.Outcome(
      ends: byRank(ends), busy: byRank(busy), computing: byRank(computing))
  }
}
