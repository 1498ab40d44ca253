import Attention
import Hosts
import Jobs
import MPI
import Reporting
import SequenceParallel
import Sharding

/// A problem on the first ranks of a job, with all that is measured of it.
final class AttentionSetup {
  let problem: ShardedAttention
  private let attention: AttentionCase
  /// That of the ranks that take part, known to rank 0.
  private let route: Route
  private let hosts: Int
  /// The bytes that the tensors of a rank take at most by the formula.
  let residentBytes: Double
  private let group: RankGroup
  private let trials: [TrialPart: AttentionTrial]
  private var contestants: [Key: Contestant] = [:]

  private struct Key: Hashable {
    let pass: KernelPass
    let part: TrialPart
  }

  /// Makes everything, called by all ranks of the job together.
  ///
  /// - Parameter parts: what is to be measured; of controls, those that the transport has.
  init(
    _ attention: AttentionCase, tokens: Int, ranks: Int, passes: [KernelPass], parts: [TrialPart],
    on world: borrowing Communicator
  ) throws {
    try world.agreed { try attention.requireCountable(tokens: tokens) }
    let problem = attention.problem(tokens: tokens, ranks: ranks)
    let group = try RankGroup(Array(0..<ranks), of: world)
    let gradients = passes.contains(.backward)
    let choice = try world.agreed {
      try group.onMembers { members in
        try Self.choose(attention, problem, gradients: gradients, on: members)
      }
    }
    // Those who take no part have to know what there is to wait for.
    let hasParts = try world.broadcast(
      choice?.route.hasParts(ranks: ranks) == true ? 1 : 0, from: 0)
    let measured = parts.filter { hasParts == 1 || !$0.isControl }
    try Self.checkMemory(
      problem, choice, trials: measured.count, gradients: gradients, on: world)
    let trials = try world.agreed {
      try group.onMembers { members in
        guard let choice else { preconditionFailure("a member has a transport") }
        let inputs = try TrialInputs(
          problem, rotation: attention.rotation?.of(tokens), gradients: gradients,
          threads: attention.threads, rank: members.rank)
        var trials: [TrialPart: AttentionTrial] = [:]
        for part in measured {
          trials[part] = try AttentionTrial(
            problem, inputs, route: choice.route, part: part,
            threads: attention.threads, topology: choice.planner.topology, on: members)
        }
        if gradients { try trials[.all]?.prepareBackward() }
        return trials
      }
    }
    self.attention = attention
    self.problem = problem
    self.group = group
    self.trials = trials ?? [:]
    route = choice?.route ?? .ring
    hosts = choice?.planner.topology.nodes.count ?? 0
    residentBytes = choice?.residentBytes(gradients: gradients).max() ?? 0
    for pass in passes {
      for part in measured {
        let trial = self.trials[part]
        contestants[Key(pass: pass, part: part)] = Contestant(
          group, weight: part == .transfers ? 1 : flops(pass) / Double(ranks) * 1e-6 + 1
        ) { _ in
          guard let trial else { preconditionFailure("a member has a trial") }
          return try trial.run(pass)
        }
      }
    }
    order = passes.flatMap { pass in measured.map { Key(pass: pass, part: $0) } }
  }

  private var order: [Key] = []

  /// All, in an order that is the same on every rank.
  var all: [Contestant] { order.compactMap { contestants[$0] } }

  /// What is measured of a pass; nil if the transport does not have it.
  func contestant(_ pass: KernelPass, _ part: TrialPart) -> Contestant? {
    contestants[Key(pass: pass, part: part)]
  }

  /// What a row of a pass is about, on rank 0.
  func key(_ pass: KernelPass) -> AttentionKey {
    AttentionKey(pass, attention, problem, route: route, hosts: hosts)
  }

  /// Useful floating-point operations of a pass, of all ranks.
  func flops(_ pass: KernelPass) -> Double {
    let pairs = (0..<problem.ranks).reduce(0.0) { $0 + Double(problem.visiblePairs(rank: $1)) }
    return pairs * Double(pass.flopsPerPair(problem.shape))
  }

  /// Gives back what ranks share, called by all together.
  func close() throws {
    for part in TrialPart.allCases { try trials[part]?.close() }
  }

  /// A route, and all that is known of routes.
  private struct Choice {
    let route: Route
    let planner: RoutePlanner

    /// For each rank, the bytes of its tensors.
    func residentBytes(gradients: Bool) -> [Double] {
      planner.residentBytes(
        on: route,
        backward: gradients ? planner.backwardDecision(.automatic, after: route).route : nil)
    }
  }

  private static func choose(
    _ attention: AttentionCase, _ problem: ShardedAttention, gradients: Bool,
    on members: borrowing Communicator
  ) throws -> Choice {
    let planner = RoutePlanner(problem, topology: try Topology(of: members))
    return Choice(
      route: try attention.chooseRoute(planner, gradients, members), planner: planner)
  }

  /// Refuses what the hosts cannot hold.
  private static func checkMemory(
    _ problem: ShardedAttention, _ choice: Choice?, trials: Int, gradients: Bool,
    on world: borrowing Communicator
  ) throws {
    let mine =
      choice.map { $0.residentBytes(gradients: gradients)[world.rank] * Double(trials) } ?? 0
    let here = try world.splitByNode().allReduce(mine, with: .sum)
    try world.agreed {
      try HostMemory.current.require(
        here,
        for:
          "\(problem.queries.tokens) tokens on \(counted(problem.ranks, "rank")), with all that is "
          + "measured,", remedy: "give fewer --tokens or --heads, or more hosts",
        isOfArguments: true)
    }
  }
}
