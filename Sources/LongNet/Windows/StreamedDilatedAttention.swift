public import Attention
public import SequenceParallel
public import Tensors

/// Dilated attention of one window of a sequence after another, for sequences that fit nowhere:
/// LongNet.
///
/// A window's queries, keys and values are read and held; of what lies outside of it, only the rows
/// that its queries see in some branch are read, a piece at a time. Windows need nothing of each
/// other: they can be computed in any order, anywhere, and again.
///
/// Memory is O(window), whatever the sequence and the branches. A window of a branch with segments
/// of `w` tokens at rate `r` reads up to `w / r` rows more.
///
/// Source: Ding et al. 2023, LongNet: Scaling Transformers to 1,000,000,000 Tokens.
public struct StreamedDilatedAttention {
  /// Branches, offsets and mask.
  public let pattern: DilatedPattern
  /// The dimensions of the problem.
  public let shape: AttentionShape
  /// Tokens of a sequence.
  public let tokens: Int
  /// Multiplies `q·k`.
  public let scale: Double
  /// Tokens of every window but the last.
  public let windowTokens: Int
  /// Where the time of all windows so far went.
  public private(set) var timing = Timing()

  private let families: [DilatedFamily]
  private let team: ThreadTeam
  private let stepBytes: Int
  private let memory = ReusedMemory()

  /// Where time went.
  public struct Timing: Hashable, Sendable {
    /// Reading or generating rows.
    public var reading: Duration = .zero
    /// In the kernels.
    public var computing: Duration = .zero

    /// No time.
    public init() {}
  }

  /// Describes the computation.
  ///
  /// - Parameters:
  ///   - shape: heads and head dims.
  ///   - tokens: of a sequence.
  ///   - branches: what is merged, at least one.
  ///   - headOffset: which rows a head selects.
  ///   - isCausal: whether a query sees no later keys.
  ///   - scale: multiplies `q·k`; nil is 1/√headDim.
  ///   - windowTokens: queries that are computed together, and held with their keys and values; at
  ///     least one.
  ///   - team: the threads of this rank.
  ///   - stepBytes: about as many bytes of rows are gathered and computed on together.
  /// - Throws: ``DilatedProblemError`` without a branch, for empty windows, and for windows of more
  ///   pairs than can be counted.
  public init(
    shape: AttentionShape, tokens: Int, branches: [DilatedBranch], headOffset: HeadOffset = .modulo,
    isCausal: Bool, scale: Double? = nil, windowTokens: Int,
    team: ThreadTeam = ThreadTeam(threads: 1), stepBytes: Int = 4 << 20
  ) throws(DilatedProblemError) {
    guard windowTokens > 0, !branches.isEmpty else {
      throw DilatedProblemError(
        branches.isEmpty
          ? "Dilated attention has no branches; give at least one."
          : "A window has \(windowTokens) tokens; give it at least one.")
    }
    // More than the pairs of a window, which are counted as integers.
    let most =
      Double(min(windowTokens, tokens)) * Double(tokens) * Double(shape.batch)
      * Double(shape.queryHeads)
    guard most < 0x1p61 else {
      throw DilatedProblemError(
        "A window of \(windowTokens) tokens is too long for \(tokens) tokens; make it shorter.")
    }
    pattern = DilatedPattern(
      branches: branches, headOffset: headOffset, queryHeads: shape.queryHeads, isCausal: isCausal)
    self.shape = shape
    self.tokens = tokens
    self.scale = scale ?? 1 / Double(shape.headDim).squareRoot()
    self.windowTokens = windowTokens
    self.team = team
    self.stepBytes = stepBytes
    families = DilatedFamily.all(of: pattern, shape: shape, tokens: tokens)
  }

  // MARK: Windows

  /// The windows of the sequence.
  public var windowCount: Int {
    tokens / windowTokens + (tokens % windowTokens == 0 ? 0 : 1)
  }

  /// The positions of a window.
  public func positions(ofWindow index: Int) -> PositionRange {
    let start = index * windowTokens
    return PositionRange(start..<start + min(windowTokens, tokens - start))
  }

  /// The (query, key) pairs of a window, over all branches, heads and sequences.
  public func pairs(ofWindow index: Int) -> Double {
    work.tasks(ofQueriesIn: [positions(ofWindow: index)]).reduce(0) { sum, task in
      sum + Double(task.pairs(isCausal: pattern.isCausal)) * pairFactor(family: task.family)
    }
  }

  /// The (query, key) pairs of all windows.
  ///
  /// - Complexity: O(branches · heads).
  public var pairs: Double {
    families.indices.reduce(0) { sum, index in
      let family = families[index]
      return family.stretches.reduce(sum) { sum, segments in
        let rows = Double(family.rows(of: segments.lowerBound).count)
        let perSegment = pattern.isCausal ? rows * (rows + 1) / 2 : rows * rows
        return sum + Double(segments.count) * perSegment * pairFactor(family: index)
      }
    }
  }

  /// For each pair of rows, those of heads and sequences.
  private func pairFactor(family: Int) -> Double {
    Double(families[family].queryHeads.count * shape.batch)
  }

  private var work: DilatedWork { DilatedWork(families: families, isCausal: pattern.isCausal) }

  /// About the most bytes that a window takes: its rows, those gathered of them for one branch, and
  /// outputs twice, and what rounding takes from them.
  public var residentBytes: Double {
    let (queryHeads, kvHeads) = (Double(shape.queryHeads), Double(shape.kvHeads))
    let (headDim, valueHeadDim) = (Double(shape.headDim), Double(shape.valueHeadDim))
    let numbers =
      queryHeads * (2 * (headDim + valueHeadDim + 4) + valueHeadDim + 1)
      + kvHeads * (headDim + valueHeadDim)
    return 4 * numbers * Double(shape.batch) * Double(min(windowTokens, tokens))
      + 8 * Double(stepBytes)
  }

  // MARK: Computing

  /// Computes the outputs of a window's queries.
  ///
  /// - Parameters:
  ///   - index: of the window.
  ///   - q: `[batch, tokens, queryHeads, headDim]`.
  ///   - k: `[batch, tokens, kvHeads, headDim]`.
  ///   - v: `[batch, tokens, kvHeads, valueHeadDim]`.
  ///   - progress: called between tiles with the scores that the first thread has computed since
  ///     the last call.
  /// - Returns: the window's outputs and log-sum-exps; 0 and −∞ where no branch selects a query.
  /// - Throws: what a source throws.
  public mutating func window(
    _ index: Int, q: some TokenRows, k: some TokenRows, v: some TokenRows,
    progress: (_ scores: Int) -> Void = { _ in }
  ) throws -> AttentionOutput {
    precondition(
      q.shape == [shape.batch, tokens, shape.queryHeads, shape.headDim]
        && k.shape == [shape.batch, tokens, shape.kvHeads, shape.headDim]
        && v.shape == [shape.batch, tokens, shape.kvHeads, shape.valueHeadDim],
      "tensors of another problem")
    let positions = positions(ofWindow: index)
    let start = ContinuousClock.now
    var window = try DilatedWindow(positions, shape: shape, q: q, k: k, v: v, team: team)
    timing.reading += .now - start

    let steps = DilatedSteps(shape: shape, families: families)
    var current: DilatedTaskState?
    for task in work.tasks(ofQueriesIn: [positions]) {
      let family = families[task.family]
      for step in steps.steps(of: task, bytes: stepBytes) {
        var state = current.take() ?? self.start(step.task, family, window)
        let readingStart = ContinuousClock.now
        let block = try window.block(of: step, family)
        let computingStart = ContinuousClock.now
        state.attend(to: block, poll: progress)
        timing.reading += computingStart - readingStart
        timing.computing += .now - computingStart
        if step.isLast {
          window.merge(state.partial.output(team: team), of: step.task, family)
        } else {
          current = consume state
        }
      }
    }
    return window.finish()
  }

  /// Gathers the queries of a task.
  private func start(
    _ task: DilatedTask, _ family: DilatedFamily, _ window: borrowing DilatedWindow
  ) -> DilatedTaskState {
    let computation = BlockComputation(
      shape: family.shape(segments: task.segments.count, of: shape), scale: scale,
      pattern: pattern.isCausal ? CausalPattern() : FullPattern(), team: team)
    var state = DilatedTaskState(computation, queries: task.queries, memory)
    state.queries.load(
      QueryShard(window.queries(of: task, family), runs: task.queries), team: team)
    return state
  }
}
