import Attention

/// When groups of ranks are how far, while ``RingSteps`` are stepped through.
struct RingClocks {
  private let steps: RingSteps
  /// How many times as long everything takes that needs a core.
  private let slowdown: Double
  private var noise: Noise
  /// When a group's turn begins.
  private var begins: [Double]
  /// When each rank has computed on its group's turn, and when all members of a group have.
  private var computed: [Double]
  private var groupComputed: [Double]
  /// When a group's link is free.
  private var free: [Double]
  /// When a group's block arrives at the next.
  private var arrives: [Double]
  /// When a group's results of the turn before are on their way and have arrived at the next.
  private var posted: [Double]
  private var delivered: [Double]
  /// Seconds that each rank computes, without transfers and with them.
  private var computing: [Double]
  private var busy: [Double]

  /// All at time 0.
  init(of steps: RingSteps, slowdown: Double) {
    self.steps = steps
    self.slowdown = slowdown
    noise = Noise(deviation: steps.noise)
    let ofGroups = [Double](repeating: 0, count: steps.groups.count)
    let ofRanks = [Double](repeating: 0, count: steps.groups.reduce(0) { $0 + $1.count })
    (begins, groupComputed, free, arrives) = (ofGroups, ofGroups, ofGroups, ofGroups)
    (posted, delivered) = (ofGroups, ofGroups)
    (computed, computing, busy) = (ofRanks, ofRanks, ofRanks)
  }

  private var groups: [[Int]] { steps.groups }

  private func previous(_ group: Int) -> Int { group == 0 ? groups.count - 1 : group - 1 }

  private func next(_ group: Int) -> Int { group + 1 == groups.count ? 0 : group + 1 }

  /// Goes through a turn.
  mutating func step(_ turn: Int) {
    sendBlocks(turn)
    compute(turn)
    let before = posted
    if steps.hasResults, turn > 0 { sendResults(turn) }
    beginNext(after: turn, resultsOfLast: before)
  }

  /// Sends blocks of a turn to the next group.
  private mutating func sendBlocks(_ turn: Int) {
    for group in groups.indices where steps.travels(turn, from: group) {
      let next = next(group)
      var start = max(begins[group], begins[next], free[group])
      if turn >= 2 { start = max(start, groupComputed[next]) }
      let way = steps.ways[group]
      free[group] = start + steps.tokens(leaving: group, turn) * way.secondsPerBlockToken
      arrives[group] = free[group] + way.latency
    }
  }

  /// Computes on the blocks of a turn; on a group's own, half if results come home to it.
  private mutating func compute(_ turn: Int) {
    let half = steps.hasResults && turn == 0 && groups.count > 1 ? 0.5 : 1
    for group in groups.indices where steps.holds(turn, group) {
      let owners = groups[steps.origin(of: group, turn)]
      let transfers = steps.transferWork(of: group, turn) * slowdown
      var latest = 0.0
      for rank in groups[group] {
        let work = visit(rank, owners, share: half)
        busy[rank] += transfers
        computed[rank] = max(computed[rank], begins[group]) + work + transfers
        latest = max(latest, computed[rank])
      }
      groupComputed[group] = latest
    }
  }

  /// Has a rank compute a share of what it does with the blocks of some owners.
  ///
  /// - Returns: the seconds.
  private mutating func visit(_ rank: Int, _ owners: [Int], share: Double) -> Double {
    var work = 0.0
    for owner in owners { work += steps.visit.seconds(rank: rank, owner: owner) }
    work *= share * noise.next(visits: owners.count) * slowdown
    computing[rank] += work
    busy[rank] += work
    return work
  }

  /// Sends results of a turn, which wait for those that come with it.
  private mutating func sendResults(_ turn: Int) {
    let incoming = delivered
    for group in groups.indices where steps.holds(turn, group) {
      posted[group] = max(groupComputed[group], turn > 1 ? incoming[previous(group)] : 0)
      let results = steps.tokens(of: steps.origin(of: group, turn), beyond: turn - 1)
      let way = steps.ways[group]
      free[group] = max(free[group], posted[group]) + results * way.secondsPerResultToken
      delivered[group] = free[group] + way.latency
    }
  }

  /// Begins the turn after one, when its transfers are over and results of the one before are on
  /// their way.
  private mutating func beginNext(after turn: Int, resultsOfLast: [Double]) {
    for group in groups.indices {
      let previous = previous(group)
      if steps.travels(turn, from: group) { begins[group] = max(begins[group], arrives[group]) }
      if steps.travels(turn, from: previous) {
        begins[group] = max(begins[group], arrives[previous])
      }
      if steps.hasResults, turn > 1 { begins[group] = max(begins[group], resultsOfLast[group]) }
    }
  }

  /// Computes what is left of ranks' own blocks, and waits for the last results to come home.
  consuming func end() -> RingSteps.Outcome {
    var ends = computed
    for group in groups.indices where groups.count > 1 {
      // Where its results come home from, the last of them.
      let reach = steps.reach[group]
      for rank in groups[group] {
        if steps.hasResults {
          let work = visit(rank, groups[group], share: 0.5)
          ends[rank] = max(
            ends[rank] + work, reach > 0 ? delivered[(group + reach) % groups.count] : 0)
        }
        ends[rank] = max(ends[rank], free[group])
      }
    }
    return RingSteps.Outcome(ends: ends, busy: busy, computing: computing)
  }
}
