import ArgumentParser
import Attention
import AttentionReference
import Jobs
import LongNet
import MPI
import Reporting
import SequenceParallel
import Sharding

extension AttendCommand {
  /// Refuses options that dilated attention does not have.
  func requireDilatable() throws {
    try masks.requireDilatable()
    if isDenselyDilated { return try requireDense() }
    if layout == .balanced {
      throw ValidationError(
        "--layout balanced cannot be used with --dilated, whose work --placement divides; use "
          + "zigzag or contiguous.")
    }
    if explaining.picture != nil {
      throw ValidationError(
        "--explain-svg draws a mask, and --dilated has segments for each head; leave one of them "
          + "out.")
    }
    if reproducible {
      throw ValidationError(
        "--reproducible cannot be used with --dilated: its results depend on the number of ranks "
          + "in their last bits; leave one of them out.")
    }
    if dilation.isDetached, scoreRule.learnedSinks {
      throw ValidationError(
        "--branch-weights-gradient detached takes the weights of branches for constants, and "
          + "--learned-sinks is one more part of them; leave one of them out.")
    }
    if let wire, wire != .f32 {
      throw ValidationError("--dilated sends rows as f32; leave --wire \(wire) out.")
    }
    if !transport.isAuto || ranksPerHost != nil {
      throw ValidationError(
        "--dilated has no --transport: rows go where --placement puts the work; leave it out.")
    }
    if backwardRoute != nil {
      throw ValidationError(
        "--dilated has no --backward-route: gradients go where the rows came from; leave it out.")
    }
  }

  /// Whether dilated attention is computed as dense attention under its mask.
  ///
  /// A bias has a number for each pair anyway, and the decay of xPos needs groups of keys.
  var isDenselyDilated: Bool { dilation.dilated != nil && (scoreRule.bias || positions.xpos) }

  private var denseDilationReason: String {
    scoreRule.bias ? "a bias has a number for each pair" : "xPos meets keys in groups"
  }

  /// Refuses what only branches have that are computed by themselves.
  private func requireDense() throws {
    guard dilation.placement == nil, !dilation.isDetached else {
      let option =
        dilation.placement == nil ? "--branch-weights-gradient detached" : "--placement"
      throw ValidationError(
        "\(option) is of branches that are computed by themselves, and with "
          + "--\(scoreRule.bias ? "bias" : "xpos") they are one mask of dense attention, since "
          + "\(denseDilationReason); leave one of them out.")
    }
  }

  /// That mask; nil if there are no branches.
  func denseDilation(_ input: AttentionInput, ranks: Int) throws -> (any AttentionPattern)? {
    try dilation.dilated.map { try describeDilated(input, $0, ranks: ranks).pattern }
  }

  /// What the report says of it; nil if there are no branches.
  var denseDilationReport: DilatedReport? {
    dilation.dilated.map {
      DilatedReport(
        branches: "\($0)", headOffset: "\(dilation.headOffset ?? .modulo)",
        placement: Nullable(value: nil),
        placementReason: "one mask of dense attention, since \(denseDilationReason)",
        branchWeightsGradient: "exact", predictedBalance: Nullable(value: nil))
    }
  }

  /// What dilated attention computes.
  func describeDilated(
    _ input: AttentionInput, _ list: DilatedBranchList, ranks: Int
  ) throws -> ShardedDilatedAttention {
    guard input.tokens == input.keyTokens else {
      throw UserError.usage(
        "Dilated attention is of a sequence to itself, and there are \(input.tokens) queries and "
          + "\(input.keyTokens) keys; give as many of both.")
    }
    return try ShardedDilatedAttention(
      shape: input.shape, sharding: try sharding(tokens: input.tokens, ranks: ranks),
      branches: list.branches,
      headOffset: dilation.headOffset ?? .modulo, isCausal: masks.choice.isCausal,
      scoreRule: rule(input, bias: []), sinks: input.sinks.map(LearnedSinks.init), scale: scale,
      arithmetic: arithmetic)
  }

  /// The closed form of dilated attention for the oracle, written out apart from the pattern.
  func dilatedBias(_ input: AttentionInput) -> (@Sendable (Int, Int, Int) -> Double)? {
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

  /// Chooses the placement.
  func place(
    _ problem: ShardedDilatedAttention, _ topology: Topology, _ team: ThreadTeam,
    on world: borrowing Communicator
  ) throws -> PlacementExplanation {
    let choice: (placement: Placement, reason: String)
    let summary: PlacementSummary
    if let placement = dilation.placement?.placement {
      choice = (placement, "asked for")
      summary = try PlacementSummary(
        of: problem, placement: placement, gradients: gradients, on: world)
    } else {
      let speeds = try MeasuredSpeeds(
        shape: problem.shape, team: team, topology: topology, on: world)
      let (cheapest, estimates) = try Placement.cheapest(
        for: problem, gradients: gradients, speeds: speeds, on: world)
      let times = estimates.map { "\($0.0) \(formatSeconds($0.seconds))" }
      summary = cheapest
      choice = (estimates[0].0, "estimates: " + times.joined(separator: ", "))
    }
    return PlacementExplanation(
      problem: problem, placement: choice.placement,
      report: DilatedReport(
        branches: dilation.dilated.map { "\($0)" } ?? "",
        headOffset: "\(problem.pattern.headOffset)",
        placement: Nullable(value: "\(choice.placement)"), placementReason: choice.reason,
        branchWeightsGradient: dilation.isDetached ? "detached" : "exact",
        predictedBalance: Nullable(value: summary.balance)),
      summary: summary, gradients: gradients)
  }

  /// Connects the ranks.
  func connect(
    _ problem: ShardedDilatedAttention, _ placement: Placement, _ team: ThreadTeam,
    _ timeline: Timeline?, on world: borrowing Communicator
  ) throws -> DilatedAttention {
    var options = DilatedAttention.Options()
    options.team = team
    options.overlaps = overlap
    options.timeline = timeline
    options.gradients = gradients
    options.branchWeightsGradient = dilation.isDetached ? .detached : .exact
    return try DilatedAttention(problem, placement: placement, options: options, on: world)
  }
}
