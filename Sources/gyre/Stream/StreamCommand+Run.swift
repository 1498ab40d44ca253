import Attention
import Glibc
import Hosts
import Jobs
import LongNet
import MPI
import Reporting
import SequenceParallel
import Tensors

extension StreamCommand: DistributedCommand, ComputingCommand {
  /// Opens, computes this rank's windows, checks, and reports.
  func run(on world: borrowing Communicator) throws {
    let input = try world.agreed { try openInput() }
    try input.requireSameFiles(on: world)
    if world.rank == 0, let note = input.layoutNote { printError("gyre: \(note)") }
    let team = ThreadTeam(threads: try threading.count(on: world))
    let attention = try world.agreed { try describe(input, team) }
    try checkMemory(attention, on: world)
    let windows = Array(stride(from: world.rank, to: attention.windowCount, by: world.size))
    let checkpoint = try world.agreed {
      try openCheckpoint(input, windows: windows.count, on: world)
    }
    let resumed = checkpoint?.state.windows ?? 0
    let state = try compute(
      attention, input, windows, team, checkpoint, isWatched: world.rank == 0)
    let report = try StreamReport.gather(
      state, resumed: resumed, attention: attention, threads: team.threads, options: self, on: world
    )
    try world.agreed {
      if let report {
        try printReport(
          self.report == .json ? jsonLine(report) : report.fields.text(under: report.pattern))
      }
    }
    let failure = report?.failure
    guard try world.broadcast(failure == nil ? 0 : 1, from: 0) == 0 else {
      throw AgreedFailure(message: failure.map { "gyre: the check failed: \($0)." })
    }
  }

  /// Computes the windows that are left.
  private func compute(
    _ attention: StreamedDilatedAttention, _ input: AttentionInput, _ windows: [Int],
    _ team: ThreadTeam, _ checkpoint: StreamCheckpoint?, isWatched: Bool
  ) throws -> StreamState {
    var attention = attention
    var checkpoint = checkpoint
    var state = checkpoint?.state ?? StreamState()
    if checkpoint != nil { StopRequest.listen() }
    let check = verify ? DilatedSampleCheck(of: attention, seed: seed, team: team) : nil
    let left = windows.dropFirst(state.windows)
    // All windows cost about the same, except where a segment of a low rate spans many of them.
    let pairs = attention.pairs * Double(left.count) / Double(max(1, attention.windowCount))
    var progress = ProgressLine(
      total: Int(min(pairs / Double(team.threads), 0x1p62)),
      on: isWatched ? Terminal.openForProgress() : nil)
    for window in left {
      let start = ContinuousClock.now
      let before = attention.timing
      let positions = attention.positions(ofWindow: window)
      let output = try attention.window(window, q: input.q, k: input.k, v: input.v) { scores in
        progress.advance(by: scores)
        stopIfTold(checkpoint, isWatched: isWatched)
      }
      if let element = team.firstNonFiniteIndex(of: output.o.span) {
        throw UserError(
          "the output of tokens \(positions) has \(output.o.span[element]): the scores or values "
            + "are too large for single precision; make --scale or the inputs smaller.")
      }
      state.outputDigest.add(output, window: window)
      state.seconds += (ContinuousClock.now - start).inSeconds
      state.readSeconds += (attention.timing.reading - before.reading).inSeconds
      state.computeSeconds += (attention.timing.computing - before.computing).inSeconds
      state.pairs += attention.pairs(ofWindow: window)
      state.tokens += positions.count * attention.shape.batch
      state.windows += 1
      state.peakResidentBytes = max(state.peakResidentBytes, ProcessMemory.peakResidentBytes)
      if let check {
        state.finding.add(
          try check.check(output, positions: positions, q: input.q, k: input.k, v: input.v))
      }
      try checkpoint?.note(state)
      stopIfTold(checkpoint, isWatched: isWatched)
    }
    progress.clear()
    try checkpoint?.flush()
    return state
  }

  /// Ends the process in the middle of a window, after what has been finished is on disk.
  private func stopIfTold(_ checkpoint: StreamCheckpoint?, isWatched: Bool) {
    guard var checkpoint, let number = StopRequest.number else { return }
    do { try checkpoint.flush() } catch { printError("gyre: \(error)") }
    if isWatched { printError("gyre: stopped; the same command goes on from here.") }
    // The other ranks have been told as well, and MPI has nothing under way.
    _exit(128 + number)
  }

  /// This rank's checkpoint, if there is to be one.
  private func openCheckpoint(
    _ input: AttentionInput, windows: Int, on world: borrowing Communicator
  ) throws -> StreamCheckpoint? {
    var files = RunFiles(settings: layers)
    try files.read(self.input, as: "the input")
    guard let checkpoint else { return nil }
    return try StreamCheckpoint(
      files.write("\(checkpoint).\(world.rank)", as: "--checkpoint"), windows: windows,
      settings: settings(ranks: world.size), input: input.fingerprints().first?.fingerprint)
  }

  private func openInput() throws -> AttentionInput {
    if let random { return AttentionInput(random: random, seed: seed, gradients: false) }
    guard let input else { throw UserError("There is no input.") }
    let opened = try AttentionInput(safetensors: input, gradients: false, options: files)
    guard opened.tokens == opened.keyTokens else {
      throw UserError.usage(
        "'\(input)': there are \(opened.tokens) queries and \(opened.keyTokens) keys; dilated "
          + "attention is of a sequence over itself, so give as many of both.")
    }
    return opened
  }

  private func describe(
    _ input: AttentionInput, _ team: ThreadTeam
  ) throws -> StreamedDilatedAttention {
    let window = min(window, max(1, input.tokens))
    do throws(DilatedProblemError) {
      return try StreamedDilatedAttention(
        shape: input.shape, tokens: input.tokens, branches: dilated.branches,
        headOffset: headOffset, isCausal: masks.choice.isCausal, scale: scale, windowTokens: window,
        team: team)
    } catch {
      // Branches and windows are there, so that only the window can be too long.
      throw UserError.usage(
        "--window is \(window), too long for \(input.tokens) tokens; make it shorter.")
    }
  }

  /// Refuses windows that the hosts cannot hold.
  private func checkMemory(
    _ attention: StreamedDilatedAttention, on world: borrowing Communicator
  ) throws {
    let ranksHere = try world.splitByNode().size
    try world.agreed {
      let needed = attention.residentBytes * Double(ranksHere)
      try HostMemory.current.require(
        needed,
        for: "windows of \(attention.windowTokens) tokens for \(counted(ranksHere, "rank"))",
        remedy: "make --window smaller", isOfArguments: true)
    }
  }
}
