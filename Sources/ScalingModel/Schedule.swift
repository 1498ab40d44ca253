import Attention
import SequenceParallel
import Sharding

/// One pass of dense attention on a cluster: its ring, and the exchanges before and after it.
struct Schedule {
  let ring: RingSteps
  /// Seconds of exchanges that all wait for, with the processor time in them.
  let exchangeSeconds: Double
  /// The bytes of them that a rank gives away.
  let exchangedBytes: Double
  /// Of each rank that is stepped, how far its block goes.
  private let journeys: [GroupJourney]
  /// Bytes of a token of a block.
  private let bytesPerToken: Double
  /// The most bytes that a rank sends.
  let bytesSent: Double
  /// The mean share of a rank in the heads, over that of the ranks that are stepped.
  let meanShare: Double
  /// Visible pairs of one head, where they are not known in closed form.
  let pairs: Double?

  /// The bytes of a rank's block that are sent further than so many groups.
  func blockBytes(of owner: Int, beyond turn: Int) -> Double {
    journeys[owner].tokens(beyond: turn) * bytesPerToken
  }

  /// - Parameters:
  ///   - planner: of the problem on the cluster's hosts.
  ///   - route: of this pass, which can be predicted and can serve these ranks.
  init(
    _ problem: DenseProblem, _ planner: RoutePlanner, route: Route, pass: AttentionPass,
    on cluster: Cluster
  ) {
    let counts = (0..<planner.problem.ranks).map(planner.problem.keys.tokenCount)
    guard Cluster.canPredict(route), let grid = try? route.grid(ranks: counts.count) else {
      preconditionFailure("\(route) cannot be predicted")
    }
    let journeys = planner.journeys(on: route, pass)
    let work = VisitWork(
      problem, queries: planner.problem.queries.grouped(by: grid.columns),
      keys: planner.problem.keys.grouped(by: grid.columns), travelling: route.travelling)
    let traffic = planner.traffic(on: route, pass)
    if grid.columns > 1 {
      self.init(
        grid: grid, journeys: journeys, work, problem, counts: counts,
        hosts: planner.topology.hosts,
        route: route, traffic: traffic, pass: pass, on: cluster)
    } else {
      self.init(
        journeys: journeys, work, problem, shape: problem.shape, counts: counts,
        hosts: planner.topology.hosts, travelling: route.travelling, traffic: traffic, pass: pass,
        flowsPerHost: nil, on: cluster)
    }
  }

  /// A ring of groups.
  ///
  /// - Parameter flowsPerHost: how many transfers leave each host at a time; nil if there are no
  ///   rings but this one.
  private init(
    journeys: Journeys, _ work: VisitWork, _ problem: DenseProblem, shape: AttentionShape,
    counts: [Int], hosts: [Int],
    travelling: Travelling, traffic: RouteTraffic, pass: AttentionPass, flowsPerHost: Double?,
    on cluster: Cluster
  ) {
    let token = TravellingBytes(travelling, pass, shape: shape, wire: problem.wire)
    let (block, result) = (Double(token.block), Double(token.result))
    let groups = journeys.groups
    let visit = VisitSeconds(
      work: work, problem, shape: shape, counts: counts, pass: pass, on: cluster)

    // Of each group, what goes to the next and over which link.
    let count = groups.count
    var flows = [Int: Double]()
    let crosses = groups.indices.map { group in
      hosts[groups[group][0]] != hosts[groups[(group + 1) % count][0]]
    }
    for group in groups.indices where crosses[group] {
      flows[hosts[groups[group][0]], default: 0] += 1
    }
    let ways = groups.indices.map { group in
      let link = crosses[group] ? cluster.network : cluster.inside
      let sharing = crosses[group] ? flowsPerHost ?? flows[hosts[groups[group][0]]] ?? 1 : 1
      let perByte = sharing / link.bytesPerSecond
      return GroupWay(
        latency: link.latency, secondsPerBlockToken: block * perByte,
        secondsPerResultToken: result * perByte,
        workPerToken: (block + result) * link.cpuSecondsPerByte)
    }
    ring = RingSteps(
      groups: groups,
      journeys: groups.map { members in GroupJourney(members.flatMap { journeys.parts[$0] }) },
      ways: ways, hasResults: result > 0, visit: visit, noise: cluster.noise)
    exchangeSeconds = 0
    exchangedBytes = 0
    self.journeys = journeys.parts.map { GroupJourney($0) }
    bytesPerToken = block
    pairs = work.table.map { $0.values.reduce(0, +) }
    bytesSent = traffic.bytesSent.max() ?? 0
    meanShare = 1
  }

  /// Ranks of a row exchange tokens for heads; those of a column are a ring.
  ///
  /// - Parameter journeys: of a column, by rows.
  private init(
    grid: HeadGrid, journeys: Journeys, _ work: VisitWork, _ problem: DenseProblem,
    counts: [Int], hosts: [Int], route: Route, traffic: RouteTraffic, pass: AttentionPass,
    on cluster: Cluster
  ) {
    let shape = problem.shape
    let columns = grid.columns
    // The first column has most heads.
    let inner = grid.shares(of: shape)[0].shape ?? shape
    let rows = (0..<grid.rows).map(grid.members)
    let columnRing = Schedule(
      journeys: journeys, work, problem, shape: inner,
      counts: rows.map { $0.reduce(0) { $0 + counts[$1] } },
      hosts: rows.map { hosts[$0.lowerBound] }, travelling: route.travelling, traffic: traffic,
      pass: pass, flowsPerHost: Double(min(cluster.ranksPerHost, columns)), on: cluster)
    let isInside = rows.allSatisfy { row in
      row.allSatisfy { hosts[$0] == hosts[row.lowerBound] }
    }

    // What a rank gives to the others of its row, and gets back.
    let exchanged = traffic.exchangedBytes.max() ?? 0
    let moved = isInside ? exchanged : traffic.exchangedToOtherHosts.max() ?? 0
    let link = isInside ? cluster.inside : cluster.network
    let sharing = isInside ? 1 : Double(min(cluster.ranksPerHost, counts.count))
    exchangeSeconds =
      moved * sharing / link.bytesPerSecond + 2 * exchanged * link.cpuSecondsPerByte
      + 2 * Double(columns - 1) * link.latency
    exchangedBytes = exchanged
    self.journeys = columnRing.journeys
    bytesPerToken = columnRing.bytesPerToken
    pairs = columnRing.pairs
    ring = columnRing.ring
    bytesSent = columnRing.bytesSent
    meanShare = Double(shape.queryHeads) / Double(columns * inner.queryHeads)
  }
}
