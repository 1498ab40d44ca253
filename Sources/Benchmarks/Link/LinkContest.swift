import MPI
import Reporting
import SequenceParallel

/// Messages of one size and kind, measured by time and by processor time.
final class LinkContest {
  let kind: LinkResult.Kind
  let members: [Int]
  let bytes: Int
  /// Of the ranks of the job.
  private let nodes: [[Int]]
  private let timed: Contestant
  private let worked: Contestant

  /// Seconds that a sample lasts at least, as far as the first run can tell.
  private static let sampleSeconds = 2e-3
  /// And for processor time, of which the system counts microseconds.
  private static let workSeconds = 10e-3
  private static let mostRepeats = 1000

  /// About how long a round takes.
  static func seconds(_ kind: LinkResult.Kind, bytes: Int, ranks: Int) -> Double {
    // As memory or a fast network carries them, there and back or to all others.
    let once = Double(bytes) * Double(kind == .exchange ? ranks - 1 : 2) / 1e9
    return max(once, sampleSeconds) + max(once, workSeconds)
  }

  /// Makes the memory, called by all ranks of the job together.
  init(
    _ kind: LinkResult.Kind, _ group: RankGroup, bytes: Int, topology: Topology,
    on world: borrowing Communicator
  ) throws {
    self.kind = kind
    members = group.members
    self.bytes = bytes
    nodes = topology.nodes
    let pattern: LinkTrial.Pattern =
      kind == .pair ? .pingPong : kind == .shift ? .shift : .exchange
    // There and back are two.
    let legs = kind == .pair ? 2.0 : 1.0
    let trial = try group.onMembers { members in
      try LinkTrial(pattern, byteCount: bytes, on: members)
    }
    func contestant(_ waiting: LinkTrial.Waiting, lasting least: Double) -> Contestant {
      var repeats = 0
      return Contestant(group) { members in
        guard let trial else { preconditionFailure("a member has a trial") }
        if repeats == 0 {
          // The first message of all makes a connection.
          try trial.run(waiting)
          let start = ContinuousClock.now
          try trial.run(waiting)
          let once = try members.allReduce((ContinuousClock.now - start).inSeconds, with: .max)
          repeats = max(1, Int(min(Double(Self.mostRepeats), least / once)))
        }
        let work = ProcessorTime.seconds
        let start = ContinuousClock.now
        for _ in 0..<repeats { try trial.run(waiting) }
        let all = (ContinuousClock.now - start).inSeconds
        var figures = RankFigures()
        figures.seconds = all / Double(repeats) / legs
        // A pair's rank sends once and receives once there and back.
        figures.processorSeconds = (ProcessorTime.seconds - work) / Double(repeats)
        return figures
      }
    }
    timed = contestant(.polling, lasting: Self.sampleSeconds)
    worked = contestant(.napping, lasting: Self.workSeconds)
  }

  /// What is measured in turn.
  var contestants: [Contestant] { [timed, worked] }
  var seconds: Samples { timed.seconds }
  var processorSeconds: Double { worked.mean(\.processorSeconds).median }

  /// Whether all messages stay on one host.
  var sameHost: Bool { hosts == 1 }
  var hosts: Int { nodes.count { node in members.contains(where: node.contains) } }

  var result: LinkResult {
    let times = seconds
    let isPair = kind == .pair
    let sent = Double(bytes * (kind == .exchange ? members.count - 1 : 1))
    let crossing = sameHost ? nil : Double(bytes * largestCrossing) / times.median
    return LinkResult(
      kind: kind, fitOf: Nullable(value: nil), from: Nullable(value: isPair ? members[0] : nil),
      to: Nullable(value: isPair ? members[1] : nil), ranks: members.count, hosts: hosts,
      sameHost: sameHost, bytes: Nullable(value: bytes), repeats: times.values.count,
      seconds: Nullable(value: times.median),
      secondsLow: Nullable(value: times.interval.lowerBound),
      secondsHigh: Nullable(value: times.interval.upperBound),
      spread: Nullable(value: times.spread), bytesPerSecond: Nullable(value: sent / times.median),
      linkBytesPerSecond: Nullable(value: crossing), cpuSeconds: Nullable(value: processorSeconds),
      latencySeconds: Nullable(value: nil), secondsPerByte: Nullable(value: nil),
      cpuSecondsPerMessage: Nullable(value: nil), cpuSecondsPerByte: Nullable(value: nil))
  }

  /// The most messages that a host sends to others in one operation, of a pair in one direction.
  private var largestCrossing: Int {
    nodes.map { node in
      let inside = members.filter(node.contains).count
      switch kind {
      case .exchange: return inside * (members.count - inside)
      case .shift:
        return members.indices.count {
          node.contains(members[$0]) && !node.contains(members[($0 + 1) % members.count])
        }
      case .pair, .fit: return inside == 1 ? 1 : 0
      }
    }.max() ?? 0
  }
}

extension LinkResult {
  /// The lines through the medians of contests of one kind, on one host or between some; nil if
  /// they have messages of one size only.
  init?(fitOf contests: [LinkContest]) {
    guard let first = contests.first,
      let times = LineFit(contests.map { (Double($0.bytes), $0.seconds.median) }),
      let work = LineFit(contests.map { (Double($0.bytes), $0.processorSeconds) })
    else { return nil }
    kind = .fit
    fitOf = Nullable(value: first.kind)
    from = Nullable(value: nil)
    to = Nullable(value: nil)
    ranks = first.members.count
    hosts = first.hosts
    sameHost = first.sameHost
    bytes = Nullable(value: nil)
    repeats = contests.map { $0.seconds.values.count }.min() ?? 0
    seconds = Nullable(value: nil)
    secondsLow = Nullable(value: nil)
    secondsHigh = Nullable(value: nil)
    spread = Nullable(value: nil)
    bytesPerSecond = Nullable(value: nil)
    linkBytesPerSecond = Nullable(value: nil)
    cpuSeconds = Nullable(value: nil)
    latencySeconds = Nullable(value: times.offset)
    secondsPerByte = Nullable(value: times.slope)
    cpuSecondsPerMessage = Nullable(value: work.offset)
    cpuSecondsPerByte = Nullable(value: work.slope)
  }
}
