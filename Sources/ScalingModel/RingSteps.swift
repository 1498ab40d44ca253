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
  /// Of each group, the seconds of its blocks to the next group, without the latency.
  let blockSeconds: [Double]
  /// Of each group, the same of results; empty if there are none.
  let resultSeconds: [Double]
  /// Of each group, the latency of its way to the next.
  let latency: [Double]
  /// Of each rank, the processor time of a turn's transfers.
  let transferWork: [Double]
  /// Whether no block goes past the last group.
  let isCut: Bool
  /// Seconds that each rank computes on the block of an owner.
  let visit: VisitSeconds
  /// The standard deviation of a visit's time over its mean.
  let noise: Double

  /// How it went.
  struct Outcome {
    /// When each rank is done.
    let ends: [Double]
    /// Seconds that each rank computes, what transfers take of its time included.
    let busy: [Double]
    /// Seconds that each rank computes.
    let computing: [Double]
  }

  private var hasResults: Bool { !resultSeconds.isEmpty }

  /// Steps through all turns from time 0.
  ///
  /// - Parameter slowdown: how many times as long everything takes that needs a core.
  /// - Complexity: O(groups · ranks) time, O(ranks) memory.
  func run(slowdown: Double, progress: (_ share: Double) -> Void = { _ in }) -> Outcome {
    let count = groups.count
    let ranks = transferWork.count
    var noise = Noise(deviation: noise)
    // When a group's turn begins, its members have computed on it, and its link is free.
    var begins = [Double](repeating: 0, count: count)
    var computed = [Double](repeating: 0, count: ranks)
    var groupComputed = [Double](repeating: 0, count: count)
    var free = [Double](repeating: 0, count: count)
    var arrives = [Double](repeating: 0, count: count)
    // When a group's results of the turn before are on their way and have arrived at the next.
    var posted = [Double](repeating: 0, count: count)
    var delivered = [Double](repeating: 0, count: count)
    var computing = [Double](repeating: 0, count: ranks)
    var busy = [Double](repeating: 0, count: ranks)

    for turn in 0..<count {
      let isLast = turn + 1 == count
      // Blocks of this turn on their way to the next group.
      if !isLast {
        for group in 0..<count where travels(turn, from: group) {
          let next = group + 1 == count ? 0 : group + 1
          var start = max(begins[group], begins[next], free[group])
          if turn >= 2 { start = max(start, groupComputed[next]) }
          free[group] = start + blockSeconds[group]
          arrives[group] = free[group] + latency[group]
        }
      }
      // Computing on them.
      let half = hasResults && turn == 0 && count > 1 ? 0.5 : 1
      for group in 0..<count where holds(turn, group) {
        var origin = group - turn
        if origin < 0 { origin += count }
        let start = begins[group]
        var latest = 0.0
        for rank in groups[group] {
          var work = 0.0
          for owner in groups[origin] { work += visit.seconds(rank: rank, owner: owner) }
          work *= half * noise.next(visits: groups[origin].count) * slowdown
          let transfers = transferWork[rank] * slowdown
          computing[rank] += work
          busy[rank] += work + transfers
          computed[rank] = max(computed[rank], start) + work + transfers
          latest = max(latest, computed[rank])
        }
        groupComputed[group] = latest
      }
      // Results of this turn, which wait for those that come with it.
      let before = posted
      if hasResults, turn > 0 {
        let incoming = delivered
        for group in 0..<count where holds(turn, group) {
          let previous = group == 0 ? count - 1 : group - 1
          posted[group] = max(groupComputed[group], turn > 1 ? incoming[previous] : 0)
          free[group] = max(free[group], posted[group]) + resultSeconds[group]
          delivered[group] = free[group] + latency[group]
        }
      }
      if !isLast {
        for group in 0..<count {
          let previous = group == 0 ? count - 1 : group - 1
          if travels(turn, from: group) { begins[group] = max(begins[group], arrives[group]) }
          if travels(turn, from: previous) {
            begins[group] = max(begins[group], arrives[previous])
          }
          if hasResults, turn > 1 { begins[group] = max(begins[group], before[group]) }
        }
      }
      if turn % 256 == 255 { progress(Double(turn + 1) / Double(count)) }
    }

    var ends = computed
    for group in 0..<count {
      let previous = group == 0 ? count - 1 : group - 1
      for rank in groups[group] {
        if hasResults, count > 1 {
          // The second half of its own block.
          var work = 0.0
          for owner in groups[group] { work += visit.seconds(rank: rank, owner: owner) }
          work *= 0.5 * noise.next(visits: groups[group].count) * slowdown
          computing[rank] += work
          busy[rank] += work
          ends[rank] = max(ends[rank] + work, isCut ? delivered[count - 1] : delivered[previous])
        }
        if count > 1 { ends[rank] = max(ends[rank], free[group]) }
      }
    }
    return Outcome(ends: ends, busy: busy, computing: computing)
  }

  /// Whether a group holds blocks at a turn.
  @inline(__always)
  private func holds(_ turn: Int, _ group: Int) -> Bool { !isCut || group >= turn }

  /// Whether a group sends the blocks of a turn on.
  @inline(__always)
  private func travels(_ turn: Int, from group: Int) -> Bool {
    !isCut || (group >= turn && group + 1 < groups.count)
  }
}

/// How long ranks compute on blocks.
struct VisitSeconds {
  let work: VisitWork
  /// Of each rank, seconds of a pair of one head, and all its heads and sequences.
  let secondsPerPair: [Double]
  /// Of each rank, seconds on its own block.
  let own: [Double]
  /// Seconds of a visit besides.
  let overhead: Double

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
    self.init(
      work: work,
      secondsPerPair: counts.map {
        secondsOfPair(
          tokens: (Double($0) * mean).squareRoot(), isMasked: work.isMaskedEverywhere)
      },
      own: counts.indices.map {
        work.pairs(rank: $0, owner: $0)
          * secondsOfPair(tokens: Double(counts[$0]), isMasked: problem.pattern.isCausal)
      }, overhead: cluster.visitSeconds)
  }

  init(work: VisitWork, secondsPerPair: [Double], own: [Double], overhead: Double) {
    self.work = work
    self.secondsPerPair = secondsPerPair
    self.own = own
    self.overhead = overhead
  }

  @inline(__always)
  func seconds(rank: Int, owner: Int) -> Double {
    if rank == owner { return own[rank] + overhead }
    let pairs = work.pairs(rank: rank, owner: owner)
    return pairs == 0 ? 0 : pairs * secondsPerPair[rank] + overhead
  }
}
