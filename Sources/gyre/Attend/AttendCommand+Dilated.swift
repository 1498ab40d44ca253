import Jobs
import Attention
import AttentionReference
import Glibc
import MPI
import Reporting
import SequenceParallel
import Tensors

extension AttendCommand {
  /// What dilated attention computes; nil if attention is not dilated.
  func dilatedPattern(_ input: AttentionInput) throws -> DilatedPattern? {
    guard let list = dilation.dilated else { return nil }
    guard input.tokens == input.keyTokens else {
      throw UserError.usage(
        "Dilated attention is of a sequence to itself, and there are \(input.tokens) queries and "
          + "\(input.keyTokens) keys; give as many of both.")
    }
    return DilatedPattern(
      branches: list.branches, headOffset: dilation.headOffset ?? .modulo,
      queryHeads: input.shape.queryHeads, isCausal: masks.choice.isCausal)
  }

  /// The closed form of dilated attention for the oracle, written out apart from the pattern.
  func dilatedBias(_ input: AttentionInput) -> ((Int, Int, Int) -> Double)? {
    guard let list = dilation.dilated else { return nil }
    let heads = input.shape.queryHeads
    let isGrouped = dilation.headOffset == .grouped
    let reference = ReferenceDilation(
      branches: list.branches.map { ($0.segmentLength, $0.dilationRate) },
      isCausal: masks.choice.isCausal
    ) { head, rate in
      isGrouped ? head / ((heads + rate - 1) / rate) : head % rate
    }
    return { reference.bias($0, $1, head: $2) }
  }

  /// Chooses the placement, and explains it if that is asked for.
  func place(
    _ attention: ShardedAttention, _ pattern: DilatedPattern, _ topology: Topology,
    on world: borrowing Communicator
  ) throws -> (placement: Placement, report: DilatedReport) {
    let choice: (placement: Placement, reason: String)
    let summary: PlacementSummary
    if let placement = dilation.placement?.placement {
      choice = (placement, "asked for")
      summary = try PlacementSummary(
        of: attention, placement: placement, gradients: gradients, on: world)
    } else {
      let speeds = try MeasuredSpeeds(
        shape: attention.shape, team: ThreadTeam(threads: threads), topology: topology, on: world)
      let (cheapest, estimates) = try Placement.cheapest(
        for: attention, gradients: gradients, speeds: speeds, on: world)
      let times = estimates.map { "\($0.0) \(formatSeconds($0.seconds))" }
      summary = cheapest
      choice = (estimates[0].0, "estimates: " + times.joined(separator: ", "))
    }
    try world.agreed {
      guard dilation.explain, world.rank == 0 else { return }
      let explanation = PlacementExplanation(
        pattern: pattern, attention: attention, placement: choice.placement, reason: choice.reason,
        summary: summary, gradients: gradients)
      // A JSON report is to be the only thing on standard output.
      if report == .json {
        write(explanation.text + "\n", to: STDERR_FILENO)
      } else {
        try printReport(explanation.text)
      }
    }
    return (
      choice.placement,
      DilatedReport(
        branches: dilation.dilated.map { "\($0)" } ?? "", headOffset: "\(pattern.headOffset)",
        placement: "\(choice.placement)", placementReason: choice.reason,
        branchWeightsGradient: dilation.isDetached ? "detached" : "exact",
        predictedBalance: summary.balance)
    )
  }

  /// Loads this rank's shard and runs the passes of dilated attention.
  func computeDilated(
    _ attention: ShardedAttention, _ input: AttentionInput, _ placement: Placement,
    on world: borrowing Communicator
  ) throws -> PassResult {
    let queries = try world.agreed { try attention.loadQueries(input.q, rank: world.rank) }
    let keys = try world.agreed { try input.k.read(shard: queries.runs) }
    let values = try world.agreed { try input.v.read(shard: queries.runs) }
    let outputGradient = try world.agreed { try input.outputGradient?.read(shard: queries.runs) }
    var options = DilatedAttention.Options()
    options.team = ThreadTeam(threads: threads)
    options.overlaps = overlap
    options.timeline = trace.map { _ in Timeline() }
    options.gradients = gradients
    options.branchWeightsGradient = dilation.isDetached ? .detached : .exact
    let engine = try DilatedAttention(
      attention, placement: placement, options: options, on: world)
    return try measure(
      DilatedRun(attention: engine, queries: queries, keys: keys, values: values),
      shape: attention.shape, outputGradient: outputGradient, timeline: options.timeline, on: world)
  }
}
