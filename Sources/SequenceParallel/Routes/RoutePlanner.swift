public import Attention
import Sharding

/// What a problem costs all ranks on any route: the one place where bytes, messages and memory are
/// worked out, for the engine, the choice between routes, predictions, checks of memory and
/// reports.
///
/// Who meets whose block is found out once, and shared by routes, passes and ranks. Every rank
/// finds the same for itself, without communication.
public struct RoutePlanner: Sendable {
  /// What is computed, with runs cut where what other ranks see of them ends.
  public let problem: ShardedAttention
  /// Where the ranks are.
  public let topology: Topology
  /// Which rank has work to do on which block of keys.
  package let meetings: Meetings

  /// Finds out who meets whom.
  ///
  /// - Complexity: O(P log P) with the usual masks and layouts; O(P²) questions to a pattern that
  ///   is unsure everywhere.
  public init(_ problem: ShardedAttention, topology: Topology) {
    let (problem, meetings) = problem.cutAtSight()
    self.init(problem, topology: topology, meetings: meetings)
  }

  /// Takes a problem as it is.
  init(_ problem: ShardedAttention, topology: Topology, meetings: Meetings) {
    self.problem = problem
    self.topology = topology
    self.meetings = meetings
  }

  /// What travels in a pass.
  func blocks(_ travelling: Travelling, _ pass: AttentionPass) -> TravellingBlocks {
    let bytes = TravellingBytes(
      travelling, pass, shape: problem.shape, wire: problem.wire,
      accumulation: problem.accumulation)
    return switch travelling {
    case .keys:
      TravellingBlocks(problem.keys, bytes: bytes, meetings: meetings, isReversed: false)
    case .queries:
      TravellingBlocks(
        problem.queries, bytes: bytes, meetings: meetings.swapped, isReversed: true)
    }
  }

  /// What one pass sends, for each rank.
  ///
  /// - Precondition: the route can serve these ranks.
  /// - Complexity: O(P), where ranks see each other in few ranges.
  public func traffic(on route: Route, _ pass: AttentionPass) -> RouteTraffic {
    guard let grid = try? route.grid(ranks: problem.ranks) else {
      preconditionFailure("\(route) cannot serve \(problem.ranks) ranks")
    }
    if grid.columns == 1 {
      return RouteTraffic(streamTraffic(on: route, pass))
    }
    var traffic = exchangeTraffic(pass, on: grid)
    for (columns, planner) in columns(of: grid) {
      let stream = planner.streamTraffic(on: route, pass)
      for column in columns {
        for row in 0..<grid.rows { traffic.add(stream, of: row, to: row * grid.columns + column) }
      }
    }
    return traffic
  }

  /// What the blocks of a pass cost ranks that have the same heads.
  func streamTraffic(on route: Route, _ pass: AttentionPass) -> StreamTraffic {
    guard let groups = try? route.groups(of: topology) else {
      preconditionFailure("\(route) cannot serve these hosts")
    }
    return route.delivery.kind.traffic(
      of: blocks(route.travelling, pass), groups: groups, hosts: topology.hosts)
  }

  /// The columns of a grid that have heads, those together whose ranks have the same to do on the
  /// same hosts, with what the ranks of one of them compute.
  func columns(of grid: HeadGrid) -> [(columns: [Int], planner: RoutePlanner)] {
    let queries = problem.queries.grouped(by: grid.columns)
    let keys = problem.keys.grouped(by: grid.columns)
    let meetings = Meetings(problem.pattern, keys: keys, queries: queries)
    let hosts = topology.hosts
    var kinds: [ColumnKind: [Int]] = [:]
    for (column, share) in grid.shares(of: problem.shape).enumerated() {
      guard let shape = share.shape else { continue }
      let kind = ColumnKind(
        queryHeads: shape.queryHeads, kvHeads: shape.kvHeads,
        topology: Topology(hosts: (0..<grid.rows).map { hosts[$0 * grid.columns + column] }))
      kinds[kind, default: []].append(column)
    }
    return kinds.compactMap { kind, columns in
      problem.part(column: columns[0], of: grid).map {
        (columns, RoutePlanner($0, topology: kind.topology, meetings: meetings))
      }
    }
  }

  /// What columns that cost the same have in common.
  private struct ColumnKind: Hashable {
    let queryHeads: Int
    let kvHeads: Int
    let topology: Topology
  }
}

/// What one pass on a route sends: an entry for each rank.
public struct RouteTraffic: Sendable {
  /// Bytes that a rank sends.
  ///
  /// Exact up to 2⁵³; with fractions so that they can be asked for of problems that fit nowhere.
  public internal(set) var bytesSent: [Double]
  /// In how many messages of MPI.
  public internal(set) var messagesSent: [Int]
  /// The bytes of them that go to other hosts.
  public internal(set) var bytesToOtherHosts: [Double]
  /// The bytes of those that are exchanged for heads, which is waited for.
  public internal(set) var exchangedToOtherHosts: [Double]
  /// The bytes that are exchanged for heads, to any rank.
  public internal(set) var exchangedBytes: [Double]
  /// Messages that have to follow one another.
  public internal(set) var steps: Int

  /// That of ranks which share no heads.
  init(_ stream: StreamTraffic) {
    self.init(ranks: stream.sent.count)
    for rank in stream.sent.indices { add(stream, of: rank, to: rank) }
  }

  /// None.
  init(ranks: Int) {
    bytesSent = [Double](repeating: 0, count: ranks)
    messagesSent = [Int](repeating: 0, count: ranks)
    bytesToOtherHosts = bytesSent
    exchangedToOtherHosts = bytesSent
    exchangedBytes = bytesSent
    steps = 0
  }

  /// Adds what a rank sends in a stream.
  ///
  /// - Parameter member: its number there.
  mutating func add(_ stream: StreamTraffic, of member: Int, to rank: Int) {
    bytesSent[rank] += stream.sent[member].bytes
    messagesSent[rank] += stream.sent[member].messages
    bytesToOtherHosts[rank] += stream.bytesToOtherHosts[member]
    steps = max(steps, stream.steps)
  }

  /// What is sent in both, one after the other.
  public func adding(_ other: RouteTraffic) -> RouteTraffic {
    func sum(_ a: [Double], _ b: [Double]) -> [Double] { zip(a, b).map { $0 + $1 } }
    var both = self
    both.bytesSent = sum(bytesSent, other.bytesSent)
    both.messagesSent = zip(messagesSent, other.messagesSent).map { $0 + $1 }
    both.bytesToOtherHosts = sum(bytesToOtherHosts, other.bytesToOtherHosts)
    both.exchangedToOtherHosts = sum(exchangedToOtherHosts, other.exchangedToOtherHosts)
    both.exchangedBytes = sum(exchangedBytes, other.exchangedBytes)
    both.steps += other.steps
    return both
  }

  /// Bytes of all ranks together.
  public var bytesSentByAll: Double { bytesSent.reduce(0, +) }
}
