import Attention
import MPI
import Reporting
import SequenceParallel
import Sharding
import Tensors

/// What of attention is measured.
enum TrialPart: CaseIterable {
  /// As it always runs.
  case all
  /// With transfers that end before a block is computed.
  case withoutOverlap
  /// Without any transfer.
  case computing
  /// Without computing.
  case transfers

  /// Whether only transports that can be taken apart have it.
  var isControl: Bool { self == .computing || self == .transfers }
}

/// A rank's random queries and gradients of outputs, for all trials of a problem.
final class TrialInputs {
  let queries: QueryShard
  let outputGradient: Tensor<Float>
  /// Turns rows of the rank beside each pass; nil if they stay as they are.
  let turning: RowTurning?
  /// Of the forward pass, for backward passes.
  fileprivate var output: TrialOutput?

  /// Generates them, gradients only if there are any.
  init(
    _ problem: ShardedAttention, rotation: RotaryPositions?, gradients: Bool, threads: Int,
    rank: Int
  ) throws {
    let team = ThreadTeam(threads: threads)
    queries = try problem.loadQueries(
      RandomRows(shape: problem.queryShape, seed: 0, tensor: 0), rank: rank, team: team)
    outputGradient = try RandomRows(shape: problem.outputShape, seed: 0, tensor: 3)
      .read(shard: gradients ? queries.runs : [], team: team)
    turning = rotation.map {
      RowTurning(
        $0, shape: problem.shape, queries: problem.queries.shards[rank],
        keys: problem.keys.shards[rank], team: team)
    }
  }
}

/// An output that trials share.
private final class TrialOutput {
  let output: AttentionOutput

  init(_ output: consuming AttentionOutput) { self.output = output }
}

/// Attention of a rank's random numbers that is ready to be run.
final class AttentionTrial {
  private let inputs: TrialInputs
  private var attention: DistributedAttention?

  /// Connects the ranks and loads keys and values, called by all of them together.
  init(
    _ problem: ShardedAttention, _ inputs: TrialInputs, route: Route, part: TrialPart,
    threads: Int, topology: Topology, on world: borrowing Communicator
  ) throws {
    self.inputs = inputs
    var options = DistributedAttention.Options()
    options.team = ThreadTeam(threads: threads)
    options.topology = topology
    options.overlaps = part != .withoutOverlap
    options.part = part == .computing ? .computing : part == .transfers ? .transfers : .all
    var attention: DistributedAttention
    do {
      attention = try DistributedAttention(problem, route: route, options: options, on: world)
    } catch let error as MPIError where error.errorClass == .sharedMemory {
      throw UserError("\(error); or use --transport ring.")
    }
    try attention.withOwnBlock { block in
      try problem.load(
        keys: RandomRows(shape: problem.keyShape, seed: 0, tensor: 1),
        values: RandomRows(shape: problem.valueShape, seed: 0, tensor: 2), rank: world.rank,
        into: &block, team: ThreadTeam(threads: threads))
    }
    self.attention = consume attention
  }

  /// Computes the output that backward passes need.
  func prepareBackward() throws {
    guard let output = try attention?.forward(inputs.queries) else {
      preconditionFailure("closed")
    }
    inputs.output = TrialOutput(output)
  }

  /// Runs a pass once, called by all ranks together.
  func run(_ pass: KernelPass) throws -> RankFigures {
    let before = traffic
    let work = ProcessorTime.seconds
    let start = ContinuousClock.now
    try inputs.turning?.run(backwards: pass == .backward)
    switch pass {
    case .forward: _ = try attention?.forward(inputs.queries)
    case .backward:
      guard let forward = inputs.output else { preconditionFailure("no forward pass") }
      _ = try attention?.backward(
        inputs.queries, output: forward.output, outputGradient: inputs.outputGradient)
    }
    var figures = RankFigures()
    figures.seconds = (ContinuousClock.now - start).inSeconds
    let timing = timing
    figures.computing = timing.computing.inSeconds
    figures.waiting = timing.waiting.inSeconds
    figures.processorSeconds = ProcessorTime.seconds - work
    let traffic = traffic - before
    figures.bytesSent = traffic.bytesSent
    figures.messagesSent = traffic.messagesSent
    return figures
  }

  private var timing: Timing {
    switch attention {
    case .some(let attention): attention.timing
    case .none: preconditionFailure("closed")
    }
  }

  private var traffic: Traffic {
    switch attention {
    case .some(let attention): attention.traffic
    case .none: preconditionFailure("closed")
    }
  }

  /// Gives back what ranks share, called by all of them together.
  func close() throws {
    if let attention = attention.take() { try attention.close() }
  }
}
