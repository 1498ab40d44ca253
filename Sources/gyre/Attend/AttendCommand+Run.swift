import Attention
import Doctor
import Glibc
import Hosts
import Jobs
import MPI
import Reporting
import SequenceParallel
import Sharding
import Tensors

extension AttendCommand: DistributedCommand {
  /// Opens, loads, computes, checks, writes and reports.
  func run(on world: borrowing Communicator) throws {
    let input = try world.agreed { try openInput() }
    try input.requireSameFiles(on: world)
    let traceTarget = try world.agreed { try world.rank == 0 ? claimFiles() : nil }
    if world.rank == 0, let note = input.layoutNote { printError("gyre: \(note)") }
    let attention = try world.agreed { try describe(input, ranks: world.size) }
    let topology = try topology(of: world)
    let choice = try choose(attention, topology, on: world)
    try world.agreed {
      try choice.transport.check(
        ranks: world.size, topology: topology, backwardRoute: requestedRoute)
    }
    // Before anything is counted, which numbers that fit nowhere would not allow.
    try checkMemory(attention, choice.transport, nil, on: world)
    let pattern = attention.pattern as? DilatedPattern
    // Dilated attention has a way of its own.
    let backward =
      pattern == nil
      ? attention.backwardDecision(
        requestedRoute, transport: choice.transport, topology: topology) : nil
    try checkMemory(attention, choice.transport, backward, on: world)
    let dilated = try pattern.map { try place(attention, $0, topology, on: world) }
    let writer = try output.map {
      try OutputFile(
        path: $0, existing: overwriting.existing, attention: attention, gradients: gradients,
        layout: files.layout, on: world)
    }

    let result =
      if let dilated {
        try computeDilated(attention, input, dilated.placement, on: world)
      } else {
        try compute(attention, input, choice.transport, topology, on: world)
      }
    try world.agreed { try checkOverflow(of: result, attention, rank: world.rank) }
    let findings = try verify ? check(result, attention, input, on: world) : nil
    if findings?.failure == nil {
      if let writer { try writer.write(result, attention: attention, on: world) }
      if let timeline = result.timeline {
        try TraceFile.write(timeline, to: traceTarget, on: world)
      }
    }
    // Memory is asked for last, so that it speaks of the whole run.
    var own = result.report
    own.peakResidentBytes = ProcessMemory.peakResidentBytes
    let report = try RunReport.gather(
      own, attention: attention, choice: choice, backward: gradients ? backward : nil,
      options: self, findings: findings, dilated: dilated?.report, on: world)
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

  /// Names the files of the run, of which none may be written over another.
  ///
  /// - Returns: the place of the timeline.
  private func claimFiles() throws -> OutputTarget? {
    var files = RunFiles(settings: layers)
    try files.read(input, as: "the input")
    for (path, option) in [(q, "--q"), (k, "--k"), (v, "--v"), (outputGradient, "--do")] {
      try files.read(path, as: option)
    }
    if let output {
      _ = try files.write(output, as: "--output", existing: overwriting.existing)
    }
    return try trace.map {
      try files.write($0, as: "--trace", existing: overwriting.existing)
    }
  }

  /// Loads this rank's shard and runs the passes.
  private func compute(
    _ attention: ShardedAttention, _ input: AttentionInput, _ transport: Transport,
    _ topology: Topology, on world: borrowing Communicator
  ) throws -> PassResult {
    let queries = try world.agreed { try attention.loadQueries(input.q, rank: world.rank) }
    let outputGradient = try world.agreed { try input.outputGradient?.read(shard: queries.runs) }
    var options = DistributedAttention.Options()
    options.team = ThreadTeam(threads: threads)
    options.topology = topology
    options.overlaps = overlap
    options.backwardRoute = requestedRoute
    options.timeline = trace.map { _ in Timeline() }
    var engine = try connect(attention, transport, options, on: world)
    try world.agreed {
      try engine.withOwnBlock { block in
        try attention.load(keys: input.k, values: input.v, rank: world.rank, into: &block)
      }
    }

    return try measure(
      DenseRun(
        attention: engine, queries: queries,
        pairs: attention.computedPairs(rank: world.rank, transport: transport)),
      shape: attention.shape, outputGradient: outputGradient, timeline: options.timeline, on: world)
  }

  private func check(
    _ result: borrowing PassResult, _ attention: ShardedAttention, _ input: AttentionInput,
    on world: borrowing Communicator
  ) throws -> Findings {
    let output = try SampledCheck(of: attention, bias: bias(input))
      .run(result.output, q: input.q, k: input.k, v: input.v, on: world)
    let gradients: SampledCheck.Finding? =
      switch result.gradients {
      case .some where dilation.isDetached: nil
      case .some(let gradients):
        try input.outputGradient.map {
          try SampledGradientCheck(of: attention, bias: bias(input))
            .run(
              gradients, result.output, q: input.q, k: input.k, v: input.v, outputGradient: $0,
              on: world)
        }
      case .none: nil
      }
    return Findings(output: output, gradients: gradients)
  }

  private func openInput() throws -> AttentionInput {
    if let random {
      return AttentionInput(random: random, queries: queries, seed: seed, gradients: gradients)
    }
    if let q, let k, let v {
      return try AttentionInput(
        q: q, k: k, v: v, outputGradient: outputGradient, options: files)
    }
    guard let input else { throw UserError("There is no input.") }
    return try AttentionInput(safetensors: input, gradients: gradients, options: files)
  }

  private func describe(_ input: AttentionInput, ranks: Int) throws -> ShardedAttention {
    let dilated = try dilatedPattern(input)
    if dilated == nil { try requireCountable(input) }
    let dense = masks.choice.pattern(tokens: input.tokens, keyTokens: input.keyTokens)
    return ShardedAttention(
      shape: input.shape,
      queries: try sharding(tokens: input.tokens, ranks: ranks),
      keys: try sharding(tokens: input.keyTokens, ranks: ranks),
      pattern: dilated ?? dense,
      scale: scale, wire: dilated != nil ? .f32 : wire ?? WireType(input.keyValueType),
      accumulation: accumulation)
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

  private var accumulation: Accumulation { reproducible ? .reproducible : .fast }

  private func sharding(tokens: Int, ranks: Int) throws -> Sharding {
    guard let weights else {
      return Sharding(
        chosenLayout, tokens: tokens, ranks: ranks, granularity: accumulation.granularity)
    }
    guard weights.count == ranks else {
      throw UserError.usage(
        "--weights has \(weights.count) numbers for \(ranks) ranks; give one for each rank.")
    }
    guard
      let sharding = Sharding(
        chosenLayout, tokens: tokens, weights: weights, granularity: accumulation.granularity)
    else {
      throw UserError.usage("--weights cannot be used with --layout \(chosenLayout).")
    }
    return sharding
  }

  /// The mask for the oracle, written out apart from the kernels' pattern.
  private func bias(_ input: AttentionInput) -> (Int, Int, Int) -> Double {
    dilatedBias(input)
      ?? masks.choice.bias(tokens: input.tokens, keyTokens: input.keyTokens)
  }

  /// Refuses to pass on a result in which finite inputs have overflowed single precision.
  private func checkOverflow(
    of result: borrowing PassResult, _ attention: ShardedAttention, rank: Int
  ) throws {
    let queries = attention.queries.shards[rank]
    let keys = attention.keys.shards[rank]
    try checkOverflow(of: result.output.o, "o", runs: queries)
    switch result.gradients {
    case .some(let gradients):
      try checkOverflow(of: gradients.dq, "dq", runs: queries)
      try checkOverflow(of: gradients.dk, "dk", runs: keys)
      try checkOverflow(of: gradients.dv, "dv", runs: keys)
    case .none: break
    }
  }

  private func checkOverflow(
    of tensor: borrowing Tensor<Float>, _ name: String, runs: [PositionRange]
  ) throws {
    guard let element = tensor.span.firstNonFiniteIndex else { return }
    let index = tensor.shape.index(ofFlat: element)
    throw UserError(
      "\(name)\([index[0], runs.position(at: index[1]), index[2], index[3]]) is \(tensor.span[element]): "
        + "the scores or values are too large for single precision; make --scale or the inputs "
        + "smaller.")
  }
}
