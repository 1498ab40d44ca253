import Attention
import AttentionReference
import Doctor
import Glibc
import Hosts
import Jobs
import LongNet
import MPI
import Reporting
import SequenceParallel
import Sharding
import Tensors

extension AttendCommand: DistributedCommand, ComputingCommand {
  var arithmetics: [Arithmetic] { [arithmetic] }

  /// Opens, loads, computes, checks, writes and reports.
  func run(on world: borrowing Communicator) throws {
    let input = try world.agreed {
      var input = try openInput()
      try input.readMasks(masks.choice, seed: seed)
      try checkProjections(input)
      return input
    }
    try input.requireSameFiles(on: world)
    try input.requireSameMasks(on: world)
    let targets = try world.agreed { try world.rank == 0 ? claimFiles() : nil }
    if world.rank == 0, let note = input.layoutNote { printError("gyre: \(note)") }
    let team = ThreadTeam(threads: try threading.count(on: world))
    let plan = try plan(input, team, on: world)
    try explain(plan, into: targets?.picture, on: world)
    if explaining.explain { return }
    let problem = plan.problem
    let writer = try openOutput(problem, input, on: world)
    let positions = try world.agreed {
      try self.positions.positions(headDim: input.shape.headDim, keyTokens: input.keyTokens)
    }
    try requireSamePositions(positions, on: world)
    let result = try compute(plan, input, positions, team, on: world)
    let computed = ContinuousClock.now
    try world.agreed { try checkOverflow(of: result, problem, team, rank: world.rank) }
    let findings =
      try verify ? check(result, problem, input, positions, team, on: world) : nil
    let checked = ContinuousClock.now
    if findings?.failure == nil {
      if let writer { try writer.write(result, of: problem, on: world) }
      if let timeline = result.timeline {
        try TraceFile.write(timeline, to: targets?.trace, on: world)
      }
    }
    // Memory is asked for last, so that it speaks of the whole run.
    var own = result.report
    own.checkSeconds = (checked - computed).inSeconds
    if output != nil { own.writeSeconds = (ContinuousClock.now - checked).inSeconds }
    own.peakResidentBytes = ProcessMemory.peakResidentBytes
    let report = try RunReport.gather(
      own, plan: plan, options: self, findings: findings, on: world)
    // The report comes last: whatever becomes of it, the output is there.
    try world.agreed {
      if let report {
        try printReport(
          self.report == .json ? jsonLine(report) : report.fields.text(under: report.pattern))
      }
    }
    if let failure = findings?.failure {
      throw AgreedFailure(
        message: world.rank == 0
          ? "gyre: the check failed: \(failure)\(output == nil ? "" : "; no output is written")."
          : nil)
    }
  }

  /// Creates the output beside its final name; nil if there is none.
  private func openOutput(
    _ problem: some ShardedProblem, _ input: AttentionInput, on world: borrowing Communicator
  ) throws -> OutputFile? {
    guard let output else { return nil }
    return try OutputFile(
      path: output, existing: overwriting.existing, problem: problem, gradients: gradients,
      bias: input.bias?.shape, hasProjections: input.projections != nil, labels: input.labels,
      layout: files.layout, on: world)
  }

  /// Names the files of the run, of which none may be written over another.
  ///
  /// - Returns: the places of the timeline and of the picture.
  private func claimFiles() throws -> (trace: OutputTarget?, picture: OutputTarget?) {
    var files = RunFiles(settings: layers)
    try files.read(input, as: "the input")
    try files.read(positions.ropeScaling?.path, as: "the file of --rope-scaling")
    try files.read(masks.blocks.blockMask, as: "--block-mask")
    for (path, option) in [(q, "--q"), (k, "--k"), (v, "--v"), (outputGradient, "--do")] {
      try files.read(path, as: option)
    }
    if let output {
      _ = try files.write(output, as: "--output", existing: overwriting.existing)
    }
    return (
      trace: try trace.map {
        try files.write($0, as: "--trace", existing: overwriting.existing)
      },
      picture: try explaining.picture.map {
        try files.write($0, as: "--explain-svg", existing: overwriting.existing)
      }
    )
  }

  /// Finds out how what is asked for is computed, and whether there is room for it, called by all
  /// ranks together.
  private func plan(
    _ input: AttentionInput, _ team: ThreadTeam, on world: borrowing Communicator
  ) throws -> AttendPlan {
    if let branches = dilation.dilated, !isDenselyDilated {
      let problem = try world.agreed {
        try describeDilated(input, branches, ranks: world.size)
      }
      try checkMemory(
        problem.residentBytes(rank: world.rank, gradients: gradients), on: world)
      return .dilated(problem, try place(problem, topology(of: world), team, on: world))
    }
    let (problem, layoutReason) = try world.agreed { try describe(input, ranks: world.size) }
    let topology = try topology(of: world)
    // What fits nowhere cannot even be planned.
    try checkMemory(problem.leastBytes(rank: world.rank), on: world)
    let sinks = try world.agreed { try cachedSinks(input) }
    let planner = RoutePlanner(
      sinks.map { problem.seeing($0.count..<max($0.count, input.keyTokens)) }
        ?? globalQueries(input).map { problem.seen(by: $0.others) } ?? problem,
      topology: topology)
    let choice = try choose(planner, team, on: world)
    try world.agreed {
      try choice.route.check(
        ranks: world.size, topology: topology, backward: requestedBackwardRoute)
    }
    let backward = requestedBackwardRoute.map {
      planner.backwardDecision($0, after: choice.route)
    }
    let globals = planGlobals(input, problem, after: choice.route, backward, topology)
    let ofBias = try world.agreed {
      try biasExtents(input, problem, choice.route, backward, rank: world.rank).reduce(0) {
        $0
          + $1.extent.byteCount(
            of: input.bias?.shape ?? [1, 1, 0, 0], batch: input.shape.batch,
            collectsGradients: $1.collectsGradients)
      }
    }
    let ofLabels = try world.agreed {
      try labelBytes(input, problem, choice.route, backward, rank: world.rank)
    }
    // Sinks that are apart, and a decay, take a rank's tensors once more.
    let ofSinks =
      sinks == nil && !self.positions.xpos
      ? 0 : (globals == nil ? 2 : 4) * problem.leastBytes(rank: world.rank)
    let ofGlobals = globals?.residentBytes(gradients: gradients)[world.rank]
    try checkMemory(
      planner.residentBytes(on: choice.route, backward: backward?.route)[world.rank] + ofSinks
        + (ofGlobals ?? 0) + ofLabels
        + ofBias + Double(input.maskInputs.byteCount + problem.pattern.byteCount)
        + Double(input.places.queries.byteCount + input.places.keys.byteCount), on: world)
    return .dense(
      DensePlan(
        problem: problem, layoutReason: layoutReason, planner: planner, transport: choice,
        backward: backward, globals: globals, dilated: denseDilationReport))
  }

  /// Loads this rank's shard and runs the passes.
  private func compute(
    _ plan: AttendPlan, _ input: AttentionInput, _ positions: RotaryPositions?,
    _ team: ThreadTeam, on world: borrowing Communicator
  ) throws -> PassResult {
    let timeline = trace.map { _ in Timeline() }
    let turned = input.turned(by: positions)
    switch plan {
    case .dense(let plan):
      let parts = try world.agreed {
        try loadBias(input, plan.problem, plan.transport.route, plan.backward, rank: world.rank)
      }
      let labels = try world.agreed {
        try loadLabels(input, plan, team, rank: world.rank)
      }
      let problem = plan.problem.with(scoreRule: rule(input, bias: parts, labels: labels))
      // Labels are of queries as they are, and so are their gradients.
      var result = try compute(
        problem, plan, turned, positions, bias: parts, team, timeline, on: world
      ).turnedBack(by: positions, input, problem, rank: world.rank)
      result.bias = parts.first { $0.collectsGradients }
      try result.bias?.joinHeads(on: plan.transport.route, of: world)
      try addLabelGradients(labels, input, plan, to: &result, team, on: world)
      return result
    case .dilated(let problem, let explanation):
      return try compute(turned, of: problem, team, timeline, on: world) {
        try connect(problem, explanation.placement, team, timeline, on: world)
      }.turnedBack(by: positions, input, problem, rank: world.rank)
    }
  }

  /// Runs the passes of dense attention on what computes it.
  private func compute(
    _ problem: ShardedAttention, _ plan: DensePlan, _ input: AttentionInput,
    _ positions: RotaryPositions?, bias parts: [BiasPart], _ team: ThreadTeam,
    _ timeline: Timeline?,
    on world: borrowing Communicator
  ) throws -> PassResult {
    let route = plan.transport.route
    let sinks = try world.agreed {
      try cachedSinks(input).map { describe($0, input, positions, bias: parts) }
    }
    if let decay = self.positions.decay(headDim: input.shape.headDim) {
      try world.agreed { try requireOrder(input, problem, rank: world.rank) }
      let places = XPosPlaces(
        queries: input.places.queries, keys: input.places.keys, sinks: sinks)
      if let globals = plan.globals, let projections = input.projections {
        return try compute(input, of: problem, team, timeline, on: world) {
          try connect(
            problem, globals, projections, decay, places, route, team, timeline, on: world)
        }
      }
      return try compute(input, of: problem, team, timeline, on: world) {
        try connect(problem, decay, places, route, team, timeline, on: world)
      }
    }
    if let sinks {
      return try compute(input, of: problem, team, timeline, on: world) {
        try connect(problem, sinks, route, team, timeline, on: world)
      }
    }
    if let globals = plan.globals, let projections = input.projections {
      return try compute(input, of: problem, team, timeline, on: world) {
        try connect(problem, globals, projections, route, team, timeline, on: world)
      }
    }
    return try compute(input, of: problem, team, timeline, on: world) {
      try connect(problem, route, team, timeline, on: world)
    }
  }

  private func check(
    _ result: borrowing PassResult, _ problem: some ShardedProblem, _ input: AttentionInput,
    _ positions: RotaryPositions?, _ team: ThreadTeam, on world: borrowing Communicator
  ) throws -> Findings {
    let places = input.places.reference
    let cached = try world.agreed { try cachedSinks(input) }
    let positions = positions?.reference(
      at: places, sinks: cached, decay: referenceDecay(input, problem))
    func rule(_ places: ReferenceTokenPositions) -> (any ReferenceScoreRule)? {
      referenceRule(input, at: places, scale: problem.scale)
    }
    var reference = rule(places)
    if let cached, let later = reference, let ofSinks = rule(cached.reference) {
      reference = CachedSinks.ReferenceRule(count: cached.count, sinks: ofSinks, later: later)
    }
    let sinks = input.sinks?.map(Double.init)
    let checks = RowChecks(
      problem: problem, scoreRule: reference, sinks: sinks, positions: positions,
      labels: referenceLabels(input, scale: problem.scale), team: team, bias: bias(input))
    return try checks.findings(
      result, input, queries: globalQueries(input), hasGradients: !dilation.isDetached, on: world)
  }

  /// The twin of the score rule.
  private func referenceRule(
    _ input: AttentionInput, at places: ReferenceTokenPositions, scale: Double
  ) -> (any ReferenceScoreRule)? {
    let rules = [
      scoreRule.reference(
        heads: input.shape.queryHeads, slopes: input.alibiSlopes, positions: places,
        bias: input.bias),
      input.ownKeyWeight(under: masks.choice), referenceLabels(input, scale: scale),
    ].compactMap { $0 }
    return rules.count > 1 ? ReferenceRuleSequence(rules) : rules.first
  }

  private func openInput() throws -> AttentionInput {
    if let random {
      return AttentionInput(
        random: random, queries: queries, seed: seed, gradients: gradients,
        rule: scoreRule, labels: labelCount)
    }
    if let q, let k, let v {
      return try AttentionInput(
        q: q, k: k, v: v, outputGradient: outputGradient, options: files)
    }
    guard let input else { throw UserError("There is no input.") }
    return try AttentionInput(
      safetensors: input, gradients: gradients, options: files, rule: scoreRule,
      positions: positions, hasGlobals: masks.window.globals != nil, labels: labelCount)
  }

  /// What is computed, and why its tokens are divided as they are.
  private func describe(
    _ input: AttentionInput, ranks: Int
  ) throws -> (problem: ShardedAttention, layoutReason: String) {
    try requireCountable(input)
    try masks.window.check(keyTokens: input.keyTokens)
    let pattern =
      try denseDilation(input, ranks: ranks) ?? masks.choice.pattern(input.maskInputs)
    // Runs of positions that see alike; but leaves of reproducible sums are of neighbours.
    let step = reproducible ? 1 : pattern.period
    let division = try divide(input, under: pattern, ranks: ranks)
    let problem = ShardedAttention(
      shape: input.shape, queries: division.queries.strided(by: step),
      keys: division.keys.strided(by: step), pattern: pattern,
      scoreRule: rule(input, bias: [], labels: noLabels(input)),
      sinks: input.sinks.map(LearnedSinks.init), scale: scale,
      wire: wire ?? (arithmetic == .bf16 ? .bf16 : WireType(input.keyValueType)),
      accumulation: accumulation, arithmetic: arithmetic)
    return (problem, division.reason)
  }

  /// Refuses so many pairs that no integer counts them, which no machine would compute in years.
  private func requireCountable(_ input: AttentionInput) throws {
    let heads = Double(input.shape.batch) * Double(input.shape.queryHeads)
    guard Double(input.tokens) * Double(input.keyTokens) * heads < 0x1p61 else {
      throw UserError(
        "\(grouped(input.tokens)) queries and \(grouped(input.keyTokens)) keys are more pairs than "
          + "can be counted; use a smaller problem\(random == nil ? "" : " with --random").",
        kind: random == nil ? .failure : .usage)
    }
  }

  /// The mask for the oracle, written out apart from the kernels' pattern.
  private func bias(_ input: AttentionInput) -> MaskFunction {
    if let bias = dilatedBias(input) { return { _, query, key, head in bias(query, key, head) } }
    return masks.choice.bias(input.maskInputs)
  }

  /// Refuses to pass on a result in which finite inputs have overflowed single precision.
  private func checkOverflow(
    of result: borrowing PassResult, _ problem: some ShardedProblem, _ team: ThreadTeam, rank: Int
  ) throws {
    let queries = problem.queries.shards[rank]
    let keys = problem.keys.shards[rank]
    try checkOverflow(of: result.output.o, "o", runs: queries, team)
    switch result.gradients {
    case .some(let gradients):
      try checkOverflow(of: gradients.dq, "dq", runs: queries, team)
      try checkOverflow(of: gradients.dk, "dk", runs: keys, team)
      try checkOverflow(of: gradients.dv, "dv", runs: keys, team)
      switch gradients.ofGlobals {
      case .some(let own):
        try checkOverflow(of: own.dq, "dq_global", runs: queries, team)
        try checkOverflow(of: own.dk, "dk_global", runs: keys, team)
        try checkOverflow(of: own.dv, "dv_global", runs: keys, team)
      case .none: break
      }
    case .none: break
    }
  }

  private func checkOverflow(
    of tensor: borrowing Tensor<Float>, _ name: String, runs: [PositionRange], _ team: ThreadTeam
  ) throws {
    guard let element = team.firstNonFiniteIndex(of: tensor.span) else { return }
    let index = tensor.shape.index(ofFlat: element)
    throw UserError(
      "\(name)\([index[0], runs.position(at: index[1]), index[2], index[3]]) is "
        + "\(tensor.span[element]): the scores or values are too large for single precision; make "
        + "--scale or the inputs "
        + "smaller.")
  }
}
