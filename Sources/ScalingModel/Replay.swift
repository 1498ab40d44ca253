import Attention
public import SequenceParallel

/// A forward pass as SimGrid's SMPI replays it: who computes and sends what after what, and where.
///
/// Another simulator with its own idea of networks can so check a prediction.
///
/// A rank is two processes of the replay, one that computes and one that moves its blocks on, as a
/// rank does between tiles; they tell each other by messages of a byte.
///
/// Format: time-independent traces, Desprez, Markomanolis, Quinson, Suter 2011, Assessing the
/// Performance of MPI Applications through Time-Independent Trace Replay.
public struct Replay {
  /// The machines, in SimGrid's XML.
  public let platform: String
  /// The host of each process.
  public let hosts: [String]
  /// The actions of each process.
  public let traces: [String]

  /// SimGrid's hosts compute so many flops a second; only times matter.
  private static let speed = 1e9

  /// Describes a pass without noise, whose threads have cores of their own.
  ///
  /// - Parameter route: `ring`, `hierarchical` or `heads`.
  public init(
    _ problem: DenseProblem, ranks: Int, route: Route, on cluster: Cluster
  ) {
    let places = cluster.hostsOfRanks(ranks)
    let planner = RoutePlanner(
      problem.sharded(ranks: ranks), topology: Topology(hosts: places))
    let schedule = Schedule(problem, planner, route: route, pass: .forward, on: cluster)
    let count = cluster.hosts(ranks: ranks)
    platform = Self.platform(cluster, hosts: count)
    if route == .heads {
      hosts = places.map { "host-\($0)" }
      traces = Self.exchange(schedule, ranks: ranks)
    } else {
      hosts = (places + places).map { "host-\($0)" }
      traces = Self.ring(schedule, ranks: ranks)
    }
  }

  /// Hosts with a link each in both directions, on a switch that is never busy.
  private static func platform(_ cluster: Cluster, hosts: Int) -> String {
    // A message takes the links of both hosts.
    """
    <?xml version='1.0'?>
    <!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
    <platform version="4.1">
      <cluster id="hosts" prefix="host-" suffix="" radical="0-\(hosts - 1)" speed="\(speed)f" \
    core="\(2 * cluster.ranksPerHost)" bw="\(cluster.network.bytesPerSecond)Bps" \
    lat="\(cluster.network.latency / 2)s" sharing_policy="SPLITDUPLEX" \
    loopback_bw="\(cluster.inside.bytesPerSecond)Bps" loopback_lat="0s"/>
    </platform>

    """
  }

  /// Lines of one process.
  private struct Actions {
    let process: Int
    private(set) var text = ""

    init(_ process: Int) {
      self.process = process
      add("init")
    }

    mutating func add(_ action: String) { text += "\(process) \(action)\n" }

    /// Tags: 0 for blocks, 1 for what a rank's two processes tell each other.
    mutating func signal(_ other: Int) { add("send \(other) 1 1") }
    mutating func await(_ other: Int) { add("recv \(other) 1 1") }
  }

  private static func ring(_ schedule: Schedule, ranks: Int) -> [String] {
    let ring = schedule.ring
    let groups = ring.groups
    let count = groups.count
    var computing = (0..<ranks).map(Actions.init)
    var moving = (ranks..<2 * ranks).map(Actions.init)
    for (group, members) in groups.enumerated() {
      let next = groups[(group + 1) % count]
      let previous = groups[(group + count - 1) % count]
      let before = (group + count - 1) % count
      for turn in 0..<count {
        let isHeld = ring.holds(turn, group)
        let isSent = ring.travels(turn, from: group)
        let isReceived = ring.travels(turn, from: before)
        let owners = groups[ring.origin(of: group, turn)]
        for (member, rank) in members.enumerated() {
          if isHeld {
            for other in members { computing[rank].await(ranks + other) }
            let seconds = owners.reduce(0.0) {
              $0 + ring.visit.seconds(rank: rank, owner: $1)
            }
            computing[rank].add("compute \(seconds * speed)")
          }
          // The place of the block after next is that of the one before.
          let isNextReceived = turn + 1 < count && ring.travels(turn + 1, from: before)
          if turn >= 1, isNextReceived {
            for other in members { computing[rank].signal(ranks + other) }
          }
          if isHeld { for other in members { moving[rank].signal(other) } }
          if isReceived {
            if turn >= 2 { for other in members { moving[rank].await(other) } }
            let from = previous[member % previous.count]
            let owners = groups[(group - 1 - turn + 2 * count) % count]
            let bytes = Int(
              schedule.blockBytes(of: owners[member % previous.count], beyond: turn))
            moving[rank].add("irecv \(ranks + from) 0 \(bytes)")
          }
          if isSent {
            let bytes = Int(schedule.blockBytes(of: owners[member % owners.count], beyond: turn))
            moving[rank].add("isend \(ranks + next[member % next.count]) 0 \(bytes)")
          }
          if isSent || isReceived { moving[rank].add("waitall") }
        }
      }
    }
    return (computing + moving).map { $0.text + "\($0.process) finalize\n" }
  }

  /// All to all, everything that the rank computes, and all to all again.
  private static func exchange(_ schedule: Schedule, ranks: Int) -> [String] {
    // A rank gives away as much before computing as after, in sum over both.
    let bytes = Int(schedule.exchangedBytes / Double(max(1, ranks - 1)) / 2)
    let seconds = schedule.ring.visit.seconds(rank: 0, owner: 0)
    return (0..<ranks).map { rank in
      var actions = Actions(rank)
      for step in 0..<2 {
        // In turns, so that nobody is asked by all at once.
        for distance in stride(from: 1, to: ranks, by: 1) {
          actions.add("irecv \((rank - distance + ranks) % ranks) 0 \(bytes)")
        }
        for distance in stride(from: 1, to: ranks, by: 1) {
          actions.add("isend \((rank + distance) % ranks) 0 \(bytes)")
        }
        if ranks > 1 { actions.add("waitall") }
        if step == 0 { actions.add("compute \(seconds * speed)") }
      }
      return actions.text + "\(rank) finalize\n"
    }
  }
}
