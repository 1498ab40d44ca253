import Compute
import Hosts
import Jobs
import MPI
import Mixers
import Reporting
import SequenceParallel
import Sharding
import Tensors

extension MixCommand: DistributedCommand {
  /// Opens, loads, computes, checks, writes and reports.
  func run(on world: borrowing Communicator) throws {
    let input = try world.agreed { try openInput() }
    try world.requireSameFiles(input.files.fingerprints())
    try world.agreed { if world.rank == 0 { try claimFiles() } }
    let mixer = input.mixer
    try world.agreed { try checkLayout(mixer, ranks: world.size) }
    try checkMemory(mixer, on: world)
    let team = ThreadTeam(threads: try threading.count(on: world))
    let sharding = Sharding(layout, tokens: mixer.tokens, ranks: world.size)
    let line = try RankLine(on: world, sharding: sharding, team: team)
    let writer = try output.map {
      try MixOutput(
        path: $0, existing: overwriting.existing, mixer, gradients: gradients, on: world)
    }
    var run = try compute(input, line, on: world)
    let computed = ContinuousClock.now
    try world.agreed { try checkOverflow(run, line) }
    let finding = try verify ? check(run, input, line, on: world) : nil
    let checked = ContinuousClock.now
    let failure = finding.flatMap(sentence)
    if failure == nil, let writer { try writer.write(run, line, on: world) }
    run.report.checkSeconds = (checked - computed).inSeconds
    if output != nil { run.report.writeSeconds = (ContinuousClock.now - checked).inSeconds }
    run.report.peakResidentBytes = ProcessMemory.peakResidentBytes
    let report = try MixReport.gather(run, of: mixer, self, finding, on: world)
    try world.agreed {
      if let report { try printReport(self.report == .json ? jsonLine(report) : report.text) }
    }
    if let failure {
      throw AgreedFailure(
        message: world.rank == 0
          ? "gyre: the check failed: \(failure)\(output == nil ? "" : "; no output is written")."
          : nil)
    }
  }

  private func openInput() throws -> MixInput {
    if let random {
      return try MixInput(
        random: random, kind.type, options, seed: seed, gradients: gradients)
    }
    guard let input else { throw UserError("There is no input.") }
    return try MixInput(file: input, kind.type, options, gradients: gradients)
  }

  private func claimFiles() throws {
    var files = RunFiles(settings: layers)
    try files.read(input, as: "the input")
    if let output {
      _ = try files.write(output, as: "--output", existing: overwriting.existing)
    }
  }

  /// Refuses layouts in which a state would have to go to and fro.
  private func checkLayout(_ mixer: any Mixer, ranks: Int) throws {
    guard mixer.isInOrder, layout != .contiguous else { return }
    let times = layout == .zigzag ? "twice through every rank" : "to the next rank at every token"
    // The other way: rows are sent to contiguous shards, and results back.
    let share = Double(ranks - 1) / Double(ranks * ranks)
    let bytes = (mixer.inputs + mixer.outputs).filter { $0.tokenAxis != nil }.reduce(0.0) {
      $0 + 4 * Double($1.shape.elementCount) * share
    }
    throw UserError.usage(
      "--layout is \(layout.rawValue), and \(kind) passes a state from token to token, which would "
        + "go \(times); to send the rows to contiguous shards and back costs each of "
        + "\(counted(ranks, "rank")) \(formatBytes(bytes)); give --layout contiguous, in which the "
        + "state goes once.")
  }

  /// Refuses a problem that the hosts cannot hold before anything is allocated.
  private func checkMemory(_ mixer: any Mixer, on world: borrowing Communicator) throws {
    let sharding = Sharding(layout, tokens: mixer.tokens, ranks: world.size)
    let tokens = sharding.tokenCount(of: world.rank)
    func bytes(_ forms: [TensorForm]) -> Double {
      forms.reduce(0) { $0 + 4 * $1.shape(tokens: tokens).dimensions.reduce(1) { $0 * Double($1) } }
    }
    let inputs = bytes(mixer.inputs)
    let needed =
      inputs + bytes(mixer.outputs)
      + (gradients ? inputs + bytes([mixer.outputs[0]]) : 0) + mixer.keptBytes(tokens: tokens)
    let ranksHere = try world.splitByNode().size
    try world.agreed {
      try HostMemory.current.require(
        needed * Double(ranksHere),
        for: ranksHere == 1 ? "the tensors of a rank" : "\(ranksHere) ranks",
        remedy: "use more hosts, or a smaller problem" + (random == nil ? "" : " with --random"),
        isOfArguments: random != nil)
    }
  }

  /// Loads this rank's parts and runs the passes.
  private func compute(
    _ input: MixInput, _ line: RankLine, on world: borrowing Communicator
  ) throws -> MixRun {
    let start = ContinuousClock.now
    let inputs = try world.agreed {
      var inputs = MixerTensors()
      for source in input.sources { inputs.add(try source.read(line.runs, team: line.team)) }
      return inputs
    }
    let gradient = try world.agreed {
      try input.gradient.map { try $0.read(line.runs, team: line.team) }
    }
    let mixer = input.mixer
    let loaded = ContinuousClock.now
    // Pages that nobody has touched would count as computing.
    let results =
      mixer.outputs
      + (gradient == nil ? [] : mixer.inputs.map { $0.named("d\($0.name)") })
    TensorMemory.reserve(results, tokens: line.tokens, on: line.team)
    defer { TensorMemory.release() }
    let allocated = ContinuousClock.now
    if warmUps > 0 {
      let other = try RankLine(on: world, sharding: line.sharding, team: line.team)
      for _ in 0..<warmUps {
        let result = try mixer.forward(inputs, keeping: gradient != nil, on: other)
        if let gradient {
          _ = try mixer.backward(inputs, result, gradient: gradient, on: other)
        }
      }
      TensorMemory.clear()
    }
    try world.barrier()
    let before = line.traffic
    let ready = ContinuousClock.now
    let result = try mixer.forward(inputs, keeping: gradient != nil, on: line)
    let forwardEnd = ContinuousClock.now
    let gradients = try gradient.map {
      try mixer.backward(inputs, result, gradient: $0, on: line)
    }
    let end = ContinuousClock.now
    let perToken =
      mixer.flopsPerToken.forward + (gradients == nil ? 0 : mixer.flopsPerToken.backward)
    let report = RankReport(
      rank: world.rank, threads: line.team.threads, tokens: line.tokens,
      flops: perToken * Double(line.tokens * mixer.batch), load: loaded - start,
      forward: forwardEnd - ready, backward: end - forwardEnd, timing: line.timing,
      traffic: line.traffic - before)
    return MixRun(
      result: result, gradients: gradients, report: report,
      allocateSeconds: (allocated - loaded).inSeconds)
  }

  /// Refuses to pass on a result in which finite inputs have overflowed single precision.
  private func checkOverflow(_ run: MixRun, _ line: RankLine) throws {
    for (name, tensor) in run.tensors(kind.type) {
      guard tensor.form.tokenAxis != nil || line.rank == run.result.owner,
        let place = line.team.firstNonFiniteIndex(of: tensor.span)
      else { continue }
      throw UserError(
        "\(name) has \(tensor.span[place]) at \(tensor.shape.index(ofFlat: place)) of the rank's "
          + "part: the inputs are too large for single precision; make them smaller.")
    }
  }

  private func check(
    _ run: MixRun, _ input: MixInput, _ line: RankLine, on world: borrowing Communicator
  ) throws -> MixerCheck.Finding {
    // A communicator cannot be captured, and what is agreed on stays in this function.
    let shared = world.shared()
    return try MixerCheck(of: input.mixer, input.sources, gradient: input.gradient, seed: seed)
      .run(run.result, run.gradients, on: line) { body in try shared.agreed(body) }
  }

  /// What is wrong, in words; nil if nothing is.
  private func sentence(_ finding: MixerCheck.Finding) -> String? {
    if finding.maxError > finding.tolerance {
      return "the largest output error is \(finding.maxError), \(finding.tolerance) is allowed"
    }
    guard let error = finding.maxGradientError, error > finding.gradientTolerance else {
      return nil
    }
    return "the largest gradient error is \(error), \(finding.gradientTolerance) is allowed"
  }
}

/// What one rank has after a run.
struct MixRun {
  let result: MixerResult
  /// Nil unless gradients were asked for.
  let gradients: MixerTensors?
  var report: RankReport
  /// What the system took to provide memory for all that is written.
  let allocateSeconds: Double

  /// All tensors that are written, by name.
  func tensors(_ type: any Mixer.Type) -> [(name: String, tensor: MixerTensor)] {
    result.outputs.all + (gradients?.all ?? [])
  }
}
