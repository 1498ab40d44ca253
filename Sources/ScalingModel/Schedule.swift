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
  /// Of each rank that is stepped, the bytes of its block.
  let blockBytes: [Double]
  /// The most bytes that a rank sends.
  let bytesSent: Double
  /// The mean share of a rank in the heads, over that of the ranks that are stepped.
  let meanShare: Double

  /// - Parameter ranks: of which a mesh has exactly A · B.
  init(
    _ problem: DenseProblem, ranks: Int, transport: Transport, pass: AttentionPass,
    on cluster: Cluster
  ) {
    let sharding = Sharding(problem.layout, tokens: problem.tokens, ranks: ranks)
    let counts = (0..<ranks).map(sharding.tokenCount)
    let hosts = cluster.hostsOfRanks(ranks)
    switch transport {
    case .heads:
      self.init(
        mesh: (ranks, 1), problem, counts: counts, hosts: hosts, pass: pass, on: cluster)
    case .mesh(let heads, let ring):
      self.init(
        mesh: (heads, ring), problem, counts: counts, hosts: hosts, pass: pass, on: cluster)
    case .ring, .query, .shared, .hierarchical:
      let groups =
        switch transport {
        case .shared: [Array(0..<ranks)]
        case .hierarchical:
          Dictionary(grouping: 0..<ranks) { hosts[$0] }.sorted { $0.key < $1.key }.map(\.value)
        default: (0..<ranks).map { [$0] }
        }
      self.init(
        groups: groups, problem, shape: problem.shape, counts: counts, hosts: hosts,
        bytes: TokenBytes(problem, transport, pass), pass: pass, flowsPerHost: nil, on: cluster)
    case .allgather:
      preconditionFailure("blocks that go to all at once are no ring, and not predicted")
    }
  }

  /// A ring of groups.
  ///
  /// - Parameter flowsPerHost: how many transfers leave each host at a time; nil if there are no rings
  ///   but this one.
  private init(
    groups: [[Int]], _ problem: DenseProblem, shape: AttentionShape, counts: [Int], hosts: [Int],
    bytes: TokenBytes, pass: AttentionPass, flowsPerHost: Double?, on cluster: Cluster
  ) {
    let work = VisitWork(
      counts: counts, layout: problem.layout, isCausal: problem.pattern.isCausal)
    let ranks = counts.count
    let heads = Double(shape.queryHeads * shape.batch)
    let flops = shape.flopsPerPair(pass) * heads
    func secondsOfPair(tokens: Double, isMasked: Bool) -> Double {
      flops
        / (cluster.kernel.flopsPerSecond(tokens: max(1, tokens), pass, isMasked: isMasked)
          * Double(cluster.threads))
    }
    let mean = Double(problem.tokens) / Double(ranks)
    let visit = VisitSeconds(
      work: work,
      secondsPerPair: counts.map {
        secondsOfPair(
          tokens: (Double($0) * mean).squareRoot(), isMasked: work.isMaskedEverywhere)
      },
      own: counts.indices.map {
        work.pairs(rank: $0, owner: $0)
          * secondsOfPair(tokens: Double(counts[$0]), isMasked: problem.pattern.isCausal)
      }, overhead: cluster.visitSeconds)

    // Of each group, what goes to the next and over which link.
    let count = groups.count
    var flows = [Int: Double]()
    let crosses = groups.indices.map { group in
      hosts[groups[group][0]] != hosts[groups[(group + 1) % count][0]]
    }
    for group in groups.indices where crosses[group] {
      flows[hosts[groups[group][0]], default: 0] += 1
    }
    var blockSeconds: [Double] = []
    var resultSeconds: [Double] = []
    var latency: [Double] = []
    var transferWork = [Double](repeating: 0, count: ranks)
    var sent = [Double](repeating: 0, count: ranks)
    for group in groups.indices {
      let link = crosses[group] ? cluster.network : cluster.inside
      let sharing = crosses[group] ? flowsPerHost ?? flows[hosts[groups[group][0]]] ?? 1 : 1
      let tokens = groups[group].reduce(0.0) { $0 + Double(counts[$1]) }
      let perToken = sharing / link.bytesPerSecond
      blockSeconds.append(tokens * bytes.block * perToken)
      if bytes.result > 0 { resultSeconds.append(tokens * bytes.result * perToken) }
      latency.append(link.latency)
      if count == 1 { continue }
      let next = groups[(group + 1) % count]
      for (member, rank) in groups[group].enumerated() {
        let amount = Double(counts[rank]) * (bytes.block + bytes.result)
        transferWork[rank] += amount * link.cpuSecondsPerByte
        transferWork[next[member % next.count]] += amount * link.cpuSecondsPerByte
        let turns = work.isCut ? Double(count - 1 - group) : Double(count - 1)
        sent[rank] = amount * turns
      }
    }
    ring = RingSteps(
      groups: groups, blockSeconds: blockSeconds, resultSeconds: resultSeconds,
      latency: latency, transferWork: transferWork, isCut: work.isCut, visit: visit,
      noise: cluster.noise)
    exchangeSeconds = 0
    exchangedBytes = 0
    blockBytes = counts.map { Double($0) * bytes.block }
    bytesSent = sent.max() ?? 0
    meanShare = 1
  }

  /// Ranks of a row exchange tokens for heads; those of a column are a ring.
  private init(
    mesh: (columns: Int, rows: Int), _ problem: DenseProblem, counts: [Int], hosts: [Int],
    pass: AttentionPass, on cluster: Cluster
  ) {
    let shape = problem.shape
    let columns = mesh.columns
    // The first column has most heads.
    let share = HeadGrid(columns: columns, rows: mesh.rows).shares(of: shape)[0]
    let inner = share.shape ?? shape
    let rowCounts = (0..<mesh.rows).map { row in
      counts[row * columns..<(row + 1) * columns].reduce(0, +)
    }
    let rowHosts = (0..<mesh.rows).map { hosts[$0 * columns] }
    let isInside = Dictionary(grouping: counts.indices) { $0 / columns }.allSatisfy { _, members in
      members.allSatisfy { hosts[$0] == hosts[members[0]] }
    }
    let columnRing = Schedule(
      groups: (0..<mesh.rows).map { [$0] }, problem, shape: inner, counts: rowCounts,
      hosts: rowHosts, bytes: TokenBytes(ofKeys: inner, problem.wire, pass), pass: pass,
      flowsPerHost: Double(min(cluster.ranksPerHost, columns)), on: cluster)

    // What a rank gives to the others of its row, and gets back.
    let tokens = Double(counts.max() ?? 0)
    let dims = Double(shape.headDim + shape.valueHeadDim)
    let rows = Double(shape.queryHeads) * 4 * (pass == .forward ? dims + 2 : 2 * dims + 2)
    let ofKeys = TokenBytes(ofKeys: shape, problem.wire, pass)
    let keys = pass == .forward ? ofKeys.block : ofKeys.result
    let exchanged =
      tokens * (Double(shape.batch) * rows + keys) * Double(columns - 1) / Double(columns)
    let link = isInside ? cluster.inside : cluster.network
    let others = Double(columns - 1)
    let outside = isInside ? 1 : max(0, others - Double(cluster.ranksPerHost - 1)) / max(1, others)
    let sharing = isInside ? 1 : Double(min(cluster.ranksPerHost, counts.count))
    exchangeSeconds =
      columns == 1
      ? 0
      : exchanged * outside * sharing / link.bytesPerSecond
        + 2 * exchanged * link.cpuSecondsPerByte + 2 * others * link.latency
    exchangedBytes = exchanged
    blockBytes = columnRing.blockBytes
    ring = columnRing.ring
    bytesSent = exchanged + columnRing.bytesSent
    meanShare = Double(shape.queryHeads) / Double(columns * inner.queryHeads)
  }
}
