import Attention
import Hosts
import Jobs
import MPI
import Mixers
import Reporting
import SequenceParallel
import Sharding
import Tensors

/// An operator over one sequence on the first ranks of a job, with all that is measured of it.
final class MixerSetup {
  let mixer: any Mixer
  private let mixing: MixerCase
  let ranks: Int
  private let sharding: Sharding
  private let hosts: Int
  private let group: RankGroup
  private let passes: [KernelPass]
  private let parts: [MixerTrial.Part]
  private var contestants: [Key: Contestant] = [:]

  private struct Key: Hashable {
    let pass: KernelPass
    let part: MixerTrial.Part
  }

  /// Makes everything, called by all ranks of the job together.
  init(
    _ mixing: MixerCase, tokens: Int, ranks: Int, passes: [KernelPass], parts: [MixerTrial.Part],
    on world: borrowing Communicator
  ) throws {
    let mixer = try world.agreed { try mixing.mixer(tokens: tokens) }
    let group = try RankGroup(Array(0..<ranks), of: world)
    let sharding = Sharding(.contiguous, tokens: tokens, ranks: ranks)
    let gradients = passes.contains(.backward)
    try Self.checkMemory(mixer, sharding, parts: parts.count, gradients: gradients, on: world)
    let made = try group.agreedOnMembers(on: world) { members in
      let trials = try Self.trials(
        mixing, mixer, sharding, gradients: gradients, parts: parts, on: members)
      return (trials, try Topology(of: members).nodes.count)
    }
    self.mixing = mixing
    self.mixer = mixer
    self.ranks = ranks
    self.sharding = sharding
    self.group = group
    self.passes = passes
    self.parts = parts
    hosts = made?.1 ?? 0
    for pass in passes {
      for part in parts {
        let trial = made?.0[part]
        let weight = flops(pass) / Double(ranks) * 1e-6 + 1
        contestants[Key(pass: pass, part: part)] = Contestant(group, weight: weight) { _ in
          guard let trial else { preconditionFailure("a member has a trial") }
          return try trial.run(pass)
        }
      }
    }
  }

  private static func trials(
    _ mixing: MixerCase, _ mixer: any Mixer, _ sharding: Sharding, gradients: Bool,
    parts: [MixerTrial.Part], on members: borrowing Communicator
  ) throws -> [MixerTrial.Part: MixerTrial] {
    let team = ThreadTeam(threads: mixing.threads)
    let runs = sharding.shards[members.rank]
    var inputs = MixerTensors()
    for (index, form) in mixer.inputs.enumerated() {
      let demand = mixing.type.demands.first { $0.name == form.name }
      let source = MixerSource(
        form, seed: 0, tensor: UInt64(index), filling: demand?.filling ?? .normal)
      inputs.add(try source.read(runs, team: team))
    }
    let gradient =
      gradients
      ? try MixerSource(mixer.outputs[0].named("do"), seed: 0, tensor: 100, filling: .normal)
        .read(runs, team: team) : nil
    var trials: [MixerTrial.Part: MixerTrial] = [:]
    for part in parts {
      let trial: MixerTrial
      switch part {
      case .all:
        trial = try MixerTrial(
          mixer, inputs, gradient, sharding: sharding, threads: mixing.threads, on: members)
      case .computing:
        let own = sharding.tokenCount(of: members.rank)
        guard let alone = try members.split(color: members.rank) else {
          preconditionFailure("every rank has a colour")
        }
        trial = try MixerTrial(
          try mixing.mixer(tokens: own), inputs, gradient,
          sharding: Sharding(.contiguous, tokens: own, ranks: 1), threads: mixing.threads,
          on: alone)
      }
      if gradients { try trial.prepareBackward() }
      trials[part] = trial
    }
    return trials
  }

  /// All, in an order that is the same on every rank.
  var all: [Contestant] {
    passes.flatMap { pass in parts.compactMap { contestant(pass, $0) } }
  }

  /// What is measured of a pass.
  func contestant(_ pass: KernelPass, _ part: MixerTrial.Part = .all) -> Contestant? {
    contestants[Key(pass: pass, part: part)]
  }

  /// Useful floating-point operations of a pass, of all ranks.
  func flops(_ pass: KernelPass) -> Double {
    mixing.flops(pass, mixer, tokens: mixer.tokens)
  }

  /// What a row of a pass is about, on rank 0.
  func key(_ pass: KernelPass) -> MixerKey {
    MixerKey(
      pass: pass, mixer: mixing.type.name, causal: mixing.isCausal, sizes: mixing.words,
      ranks: ranks, hosts: hosts, threads: mixing.threads, tokens: mixer.tokens,
      tokensPerRank: sharding.largestTokenCount)
  }

  /// Refuses what the hosts cannot hold.
  private static func checkMemory(
    _ mixer: any Mixer, _ sharding: Sharding, parts: Int, gradients: Bool,
    on world: borrowing Communicator
  ) throws {
    let tokens = world.rank < sharding.ranks ? sharding.tokenCount(of: world.rank) : 0
    let own = mixer.residentBytes(tokens: tokens, gradients: gradients)
    // Trials share inputs, and what one leaves the next takes.
    let mine = own + (gradients ? Double(parts - 1) * mixer.keptBytes(tokens: tokens) : 0)
    let here = try world.splitByNode().allReduce(mine, with: .sum)
    try world.agreed {
      try HostMemory.current.require(
        here, for: "\(grouped(mixer.tokens)) tokens on \(counted(sharding.ranks, "rank"))",
        remedy: "give fewer --tokens or smaller --sizes, or more hosts", isOfArguments: true)
    }
  }
}
