import Attention
import Glibc
import MPI
import SequenceParallel
import Sharding
import Tensors

extension AttendCommand: DistributedCommand {
  /// Opens, loads, computes, checks, writes and reports.
  func run(on world: borrowing Communicator) throws {
    let input = try world.agreed { try openInput() }
    let attention = try world.agreed { try describe(input, ranks: world.size) }
    try checkMemory(attention, on: world)
    let writer = try output.map { try OutputFile(path: $0, attention: attention, on: world) }

    let queries = try world.agreed { try attention.loadQueries(input.q, rank: world.rank) }
    var options = DistributedAttention.Options()
    options.team = ThreadTeam(threads: threads)
    var engine = try DistributedAttention(
      attention, transport: .ring, options: options, on: world)
    try world.agreed {
      try engine.withOwnBlock { block in
        try attention.load(keys: input.k, values: input.v, rank: world.rank, into: &block)
      }
    }

    let pairs = attention.visiblePairs(rank: world.rank)
    var progress = ProgressLine(
      total: pairs / threads, on: world.rank == 0 ? Terminal.openForProgress() : nil)
    try world.barrier()
    let start = ContinuousClock.now
    let result = try engine.forward(queries) { progress.advance(by: $0) }
    let elapsed = ContinuousClock.now - start
    progress.clear()
    // Taken here, so that it speaks of the attention and not of the check that follows.
    let peakResidentBytes = ProcessMemory.peakResidentBytes

    try world.agreed { try checkOverflow(of: result, attention, rank: world.rank) }

    let finding =
      verify
      ? try SampledCheck(of: attention, bias: bias(input))
        .run(result, q: input.q, k: input.k, v: input.v, on: world) : nil
    let report = try RunReport.gather(
      RankReport(
        rank: world.rank, tokens: queries.tokens,
        flops: Double(pairs) * Double(attention.shape.forwardFlopsPerPair), elapsed: elapsed,
        timing: engine.timing, traffic: engine.traffic, peakResidentBytes: peakResidentBytes),
      attention: attention, options: self, finding: finding, on: world)
    if let report {
      let text = self.report == .json ? try report.json : report.text
      write(text + "\n", to: STDOUT_FILENO)
    }
    if let finding, !finding.holds {
      throw AgreedFailure(
        message: world.rank == 0
          ? "gyre: the check failed: the largest error is \(finding.maxError), "
            + "\(finding.tolerance) is allowed\(output == nil ? "" : "; no output is written")."
          : nil)
    }
    if let writer { try writer.write(result, attention: attention, on: world) }
  }

  private func openInput() throws -> AttentionInput {
    if let random { return AttentionInput(random: random, seed: seed) }
    if let q, let k, let v { return try AttentionInput(q: q, k: k, v: v) }
    guard let input else { throw UserError("There is no input.") }
    return try AttentionInput(safetensors: input)
  }

  /// How far past its own position a query sees under `--causal`.
  private func causalOffset(_ input: AttentionInput) -> Int { input.keyTokens - input.tokens }

  private func describe(_ input: AttentionInput, ranks: Int) throws -> ShardedAttention {
    ShardedAttention(
      shape: input.shape,
      queries: try sharding(tokens: input.tokens, ranks: ranks),
      keys: try sharding(tokens: input.keyTokens, ranks: ranks),
      pattern: causal ? CausalPattern(offset: causalOffset(input)) : FullPattern(),
      scale: scale, wire: wire ?? WireType(input.keyValueType))
  }

  private func sharding(tokens: Int, ranks: Int) throws -> Sharding {
    guard let weights else { return Sharding(chosenLayout, tokens: tokens, ranks: ranks) }
    guard weights.count == ranks else {
      throw UserError(
        "--weights has \(weights.count) numbers for \(ranks) ranks; give one for each rank.")
    }
    guard let sharding = Sharding(chosenLayout, tokens: tokens, weights: weights) else {
      throw UserError("--weights cannot be used with --layout \(chosenLayout).")
    }
    return sharding
  }

  /// The mask for the oracle, written out apart from the kernels' pattern.
  private func bias(_ input: AttentionInput) -> (Int, Int, Int) -> Double {
    let offset = causalOffset(input)
    return causal ? { i, j, _ in j <= i + offset ? 0 : -.infinity } : { _, _, _ in 0 }
  }

  /// Refuses to pass on a result in which finite inputs have overflowed single precision.
  private func checkOverflow(
    of output: borrowing AttentionOutput, _ attention: ShardedAttention, rank: Int
  ) throws {
    guard let element = output.o.span.firstNonFiniteIndex else { return }
    let positions = attention.queries.shards[rank].flatMap(Array.init)
    let index = output.o.shape.index(ofFlat: element)
    throw UserError(
      "o\([index[0], positions[index[1]], index[2], index[3]]) is \(output.o.span[element]): the "
        + "scores or values are too large for single precision; make --scale or the inputs smaller."
    )
  }

  /// Refuses a problem that the hosts cannot hold before anything is allocated.
  private func checkMemory(
    _ attention: ShardedAttention, on world: borrowing Communicator
  ) throws {
    let ranksHere = try world.splitByNode().size
    try world.agreed {
      let needed = attention.residentBytes(rank: world.rank) * Double(ranksHere)
      let available = Double(ProcessMemory.physicalBytes)
      if needed > available {
        throw UserError(
          "\(ranksHere) ranks on this host need \(formatBytes(needed)) of memory and it has "
            + "\(formatBytes(available)); use more hosts, or a smaller problem.")
      }
    }
  }
}
