public import Attention
public import SequenceParallel
import Sharding

extension Cluster {
  /// Predicts one pass of dense attention.
  ///
  /// Every turn of the schedule is stepped, with the arrival of each block at each rank. Where
  /// threads share cores, everything that needs a core takes as much longer as there are, on the
  /// average of the pass, more threads at work than cores; what neighbours take from each other
  /// beyond that is in ``crowded(ranks:)``.
  ///
  /// - Parameters:
  ///   - route: of the forward pass; backward, keys or queries travel on it, whichever is fewer
  ///     bytes.
  /// - Precondition: ``canPredict(_:)``, and the route can serve so many ranks; each has tokens.
  /// - Complexity: O(P²) for a ring; O(hosts · P) for `hierarchical`; O(P · B) for a mesh of A x B.
  public func predict(
    _ problem: DenseProblem, ranks: Int, route: Route, pass: AttentionPass,
    progress: (_ share: Double) -> Void = { _ in }
  ) -> Prediction {
    let planner = RoutePlanner(
      problem.sharded(ranks: ranks), topology: Topology(hosts: hostsOfRanks(ranks)))
    let backward =
      pass == .backward ? planner.backwardDecision(.automatic, after: route).route : nil
    let schedule = Schedule(
      problem, planner, route: backward ?? route, pass: pass, on: crowded(ranks: ranks))
    var slowdown = 1.0
    var outcome = schedule.ring.run(slowdown: slowdown, progress: progress)
    for _ in 0..<(cores == nil ? 0 : 12) {
      let next = max(1, threadsAtWork(outcome, ranks: ranks, schedule) / Double(cores ?? 1))
      if abs(next - slowdown) < 0.002 * slowdown { break }
      slowdown = (slowdown + next) / 2
      outcome = schedule.ring.run(slowdown: slowdown)
    }
    let memory = planner.residentBytes(on: route, backward: backward).max() ?? 0
    return prediction(
      outcome, schedule, problem, ranks: ranks, residentBytes: memory, pass: pass,
      slowdown: slowdown)
  }

  /// Whether the model knows how a route delivers blocks: round a ring of groups.
  public static func canPredict(_ route: Route) -> Bool { route.delivery == .rotating }

  /// How many threads want a core, on the average of the pass, where they share them.
  private func threadsAtWork(
    _ outcome: RingSteps.Outcome, ranks: Int, _ schedule: Schedule
  ) -> Double {
    let end = outcome.ends.reduce(0, max)
    if end == 0 { return 1 }
    let sharing = sharesCores ? 1 : Double(hosts(ranks: ranks))
    // Of a mesh only one column is stepped.
    let stepped = Double(ranks) / Double(outcome.busy.count) * schedule.meanShare
    return outcome.busy.reduce(0, +) * stepped / end * Double(threads) / sharing
  }

  private func prediction(
    _ outcome: RingSteps.Outcome, _ schedule: Schedule, _ problem: DenseProblem, ranks: Int,
    residentBytes: Double, pass: AttentionPass, slowdown: Double
  ) -> Prediction {
    let (exchange, pure) = (schedule.exchangeSeconds * slowdown, outcome.computing)
    let turning = turningSeconds / Double(threads)
    let ownTurning = turning / Double(ranks) * slowdown
    let seconds = outcome.ends.reduce(0, max) + exchange + startUp + ownTurning
    let count = Double(pure.count)
    let mean = pure.reduce(0, +) / count * schedule.meanShare + ownTurning
    let most = (pure.max() ?? 0) + ownTurning
    let shape = problem.shape
    let pairs = schedule.pairs.map { $0 * Double(shape.queryHeads * shape.batch) } ?? problem.pairs
    let flops = pairs * shape.flopsPerPair(pass)
    let alone =
      turning + flops
      / (kernel.flopsPerSecond(
        tokens: schedule.pairs.map { 2 * $0 / Double(problem.tokens) } ?? Double(problem.tokens),
        pass, isMasked: problem.pattern != .full) * Double(threads))
    let efficiency = alone / (Double(ranks) * seconds)
    return Prediction(
      ranks: ranks, hosts: hosts(ranks: ranks), seconds: seconds, computeSeconds: mean,
      exposedSeconds: max(0, seconds - most), imbalanceSeconds: max(0, most - mean),
      bytesSentPerRank: schedule.bytesSent,
      residentBytes: residentBytes, flops: flops,
      efficiency: efficiency,
      limit: limit(
        schedule, seconds: seconds, mean: mean, most: most, exchange: exchange,
        ideal: alone / Double(ranks), slowdown: slowdown * coreSlowdown(ranks: ranks)))
  }

  /// What most of the lost time goes to.
  ///
  /// - Parameter slowdown: by threads that share cores, and by neighbours.
  private func limit(
    _ schedule: Schedule, seconds: Double, mean: Double, most: Double, exchange: Double,
    ideal: Double, slowdown: Double
  ) -> Prediction.Limit {
    if ideal > 0.98 * seconds { return .none }
    let ring = schedule.ring
    let turns = Double(ring.reach.reduce(0, max))
    let delay = ring.ways.reduce(0) { max($0, $1.latency) }
    let waiting = max(0, seconds - most - exchange)
    let sending = ring.longestSending
    let delays = delay * turns
    let network = sending + delays
    let share = network > 0 ? sending / network : 1
    let losses: [(Prediction.Limit, Double)] = [
      (.bandwidth, exchange + (network > mean ? waiting * share : 0)),
      (.latency, network > mean ? waiting * (1 - share) : 0),
      (.heads, most - most * schedule.meanShare),
      (.imbalance, most * schedule.meanShare - mean + (network > mean ? 0 : waiting)),
      (.cores, mean * (1 - 1 / slowdown)),
      (.kernel, mean / slowdown - ideal),
    ]
    return losses.max { $0.1 < $1.1 }?.0 ?? .none
  }
}
