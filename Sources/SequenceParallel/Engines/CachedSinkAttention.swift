public import Attention
public import MPI
import Sharding
public import Tensors

/// Attention under a window with sinks as a model sees it that streams: keys have the positions
/// that they have in a cache of S sinks and the last W keys.
///
/// Such a cache rotates keys by their places in it. The keys of the window and the query, which is
/// the last of them, are as far apart there as in the sequence; but sinks stay next to the window.
/// So the query at `t` stands at `min(t, S + W − 1)` for sinks, and at `t` for all other keys. What
/// both give is merged as the results of any two blocks are. Where tokens stand elsewhere than
/// their indices say, as in context windows, the first sink at `p`, it is `min(t, p + S + W − 1)`.
///
/// Later keys go the way of the route. The keys and values of sinks, S rows, are told to all ranks
/// once a forward pass, and their gradients to their owners once a backward pass; each rank has its
/// own queries attend to them. Beside the other memory of a pass there are once more the queries
/// and the outputs of a rank.
///
/// Source: Xiao et al. 2023, StreamingLLM, section 3.2.
public struct CachedSinkAttention: ~Copyable, AttentionOperator {
  /// What sinks are, and how queries stand to them.
  public struct Sinks: Sendable {
    /// S.
    public let count: Int
    /// Where queries stand for later keys, and where they stand for sinks.
    public let queries: (forLater: TokenPositions, forSinks: TokenPositions)
    /// What has turned queries and keys by their true positions; nil if nothing has.
    public let rotation: RotaryPositions?
    /// What becomes of the scores of sinks; nil if nothing does.
    public let scoreRule: (any ScoreRule)?

    /// Takes all of it.
    public init(
      count: Int, queries: (forLater: TokenPositions, forSinks: TokenPositions),
      rotation: RotaryPositions?, scoreRule: (any ScoreRule)?
    ) {
      (self.count, self.queries) = (count, queries)
      self.rotation = rotation?.turningAlone
      self.scoreRule = scoreRule
    }

    /// Those of tokens that stand where their indices say.
    ///
    /// - Parameters:
    ///   - window: W.
    ///   - offset: how far past its own index a query stands among the keys.
    public init(
      count: Int, window: Int, offset: Int, rotation: RotaryPositions?,
      scoreRule: (any ScoreRule)?
    ) {
      self.init(
        count: count,
        queries: (
          TokenPositions(offset: offset),
          TokenPositions(offset: offset, last: count + window - 1)
        ), rotation: rotation, scoreRule: scoreRule)
    }

    /// Turns rows of queries from where they stand for later keys to where they stand for sinks, or
    /// gradients back.
    func turn(_ rows: inout Tensor<Float>, _ runs: [PositionRange], backwards: Bool = false) {
      rotation?.turn(&rows, runs: runs, backwards: backwards) { batch, token in
        queries.forSinks[batch, token] - queries.forLater[batch, token]
      }
    }
  }

  /// What is computed, sinks and later keys.
  public let problem: ShardedAttention
  private let sinks: Sinks
  private let rank: Int
  private let team: ThreadTeam
  private let world: Communicator
  private var later: DistributedAttention
  /// This rank's own rows of sinks among zeros, `[batch, sinks, kvHeads, columns]`.
  private var ownKeys: Tensor<Float>
  private var ownValues: Tensor<Float>
  /// All sinks.
  private var block: KeyValueBlock
  private var ownTiming = Duration.zero

  /// Connects the ranks, called by all of them together.
  ///
  /// - Parameters:
  ///   - problem: with a pattern that shows sinks, and the score rule of later keys.
  ///   - route: of later keys.
  public init(
    _ problem: ShardedAttention, sinks: Sinks, route: Route,
    options: DistributedAttention.Options = .init(), on world: borrowing Communicator
  ) throws {
    let (shape, count) = (problem.shape, min(sinks.count, problem.keys.tokens))
    let own = try world.duplicate()
    let later = try DistributedAttention(
      problem.seeing(sinks.count..<max(sinks.count, problem.keys.tokens)), route: route,
      options: options, on: world)
    self.problem = problem
    self.sinks = sinks
    self.later = later
    self.world = own
    rank = world.rank
    team = options.team
    ownKeys = Tensor(zeros: [shape.batch, count, shape.kvHeads, shape.headDim])
    ownValues = Tensor(zeros: [shape.batch, count, shape.kvHeads, shape.valueHeadDim])
    block = KeyValueBlock(
      shape: shape, elementType: problem.wire, runs: [PositionRange(0..<count)])
  }

  /// The (query, key) pairs that this rank computes in a pass.
  public var pairs: Int {
    later.pairs
      + problem.pattern.visiblePairs(
        keys: [PositionRange(0..<block.keyCount)], queries: problem.queries.shards[rank],
        shape: problem.shape)
  }

  /// Where the time of the last pass went.
  public var timing: Timing {
    var timing = later.timing
    timing.computing += ownTiming
    return timing
  }

  /// The point-to-point messages of this rank so far.
  public var traffic: Traffic { later.traffic }

  /// Packs this rank's own keys and values.
  public mutating func pack(keys: borrowing Tensor<Float>, values: borrowing Tensor<Float>) {
    later.pack(keys: keys, values: values)
    for (sink, local) in ownSinks {
      copyRow(of: keys, at: local, to: &ownKeys, at: sink)
      copyRow(of: values, at: local, to: &ownValues, at: sink)
    }
  }

  /// This rank's own keys and values, to be packed piece by piece; besides, each of its sinks is
  /// given to ``takeSink(_:key:value:)``.
  public mutating func withOwnBlock(_ body: (inout KeyValueBlock) throws -> Void) rethrows {
    try later.withOwnBlock(body)
  }

  /// Takes a sink that this rank has.
  ///
  /// - Parameters:
  ///   - key: of the only sequence, `[kvHeads, headDim]`.
  ///   - value: `[kvHeads, valueHeadDim]`.
  public mutating func takeSink(
    _ sink: Int, key: borrowing Span<Float>, value: borrowing Span<Float>
  ) {
    precondition(problem.shape.batch == 1, "a sink of several sequences")
    var keys = ownKeys.mutableSpan
    for column in key.indices { keys[sink * key.count + column] = key[column] }
    var values = ownValues.mutableSpan
    for column in value.indices { values[sink * value.count + column] = value[column] }
  }

  /// Reads and packs this rank's own keys and values.
  public mutating func load(keys: some TokenRows, values: some TokenRows) throws {
    try later.load(keys: keys, values: values)
    for (sink, _) in ownSinks {
      try read(keys, of: sink, to: &ownKeys)
      try read(values, of: sink, to: &ownValues)
    }
  }

  /// The forward pass.
  public mutating func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    let ofLater = try later.forward(queries, progress: progress)
    let start = ContinuousClock.now
    try shareSinks()
    var accumulator = ForwardAccumulator(
      shape: problem.shape, tokens: queries.tokens, scale: problem.scale,
      pattern: problem.pattern, scoreRule: sinks.scoreRule, accumulation: problem.accumulation,
      arithmetic: problem.arithmetic, team: team)
    accumulator.attend(atSinks(queries), to: block, poll: progress)
    let output = ofLater.merged(with: accumulator.finish(), team: team)
    ownTiming = ContinuousClock.now - start
    guard let learned = problem.sinks else { return output }
    return learned.applied(to: output, team: team)
  }

  /// The backward pass.
  public mutating func backward(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionGradients {
    var gradients = try later.backward(
      queries, output: output, outputGradient: outputGradient, progress: progress)
    let start = ContinuousClock.now
    var accumulator = BackwardAccumulator(
      shape: problem.shape, output: output, outputGradient: outputGradient, scale: problem.scale,
      pattern: problem.pattern, scoreRule: sinks.scoreRule, accumulation: problem.accumulation,
      arithmetic: problem.arithmetic, team: team)
    let memory = StreamMemory.pieces(sizes: [gradientBytes])[0]
    var ofSinks = problem.gradient(keys: block.keyCount, at: memory)
    accumulator.attend(
      atSinks(queries), outputGradient: outputGradient, to: block, addingTo: &ofSinks.value,
      poll: progress)
    var dq = accumulator.finish()
    sinks.turn(&dq, queries.runs, backwards: true)
    var sum = gradients.dq.mutableSpan
    for index in 0..<sum.count { sum[index] += dq.span[index] }
    try collect(memory, in: &gradients)
    if let learned = problem.sinks {
      gradients.dsinks = learned.gradient(
        merging: try world.allGather(
          learned.gradientSums(
            output, outputGradient: outputGradient, runs: queries.runs, team: team)))
    }
    ownTiming = ContinuousClock.now - start
    return gradients
  }

  /// Gives back what the ranks share.
  public consuming func close() throws(MPIError) { try later.close() }

  // MARK: Queries

  /// Queries where they stand for sinks.
  private func atSinks(_ queries: borrowing QueryShard) -> QueryShard {
    var tensor = Tensor<Float>(zeros: queries.tensor.shape)
    var rows = tensor.mutableSpan
    team.copy(queries.tensor.span, to: &rows)
    sinks.turn(&tensor, queries.runs)
    return QueryShard(tensor, runs: queries.runs)
  }

  // MARK: Sinks

  /// The sinks that this rank has, and their indices in its shard.
  private var ownSinks: [(sink: Int, local: Int)] {
    (0..<block.keyCount).compactMap { sink in
      let owner = problem.keys.owner(of: sink)
      return owner.rank == rank ? (sink, owner.localIndex) : nil
    }
  }

  /// Tells all ranks the rows of sinks, which each has from one of them.
  private mutating func shareSinks() throws(MPIError) {
    var keys = (0..<ownKeys.count).map { ownKeys.span[$0] }
    var values = (0..<ownValues.count).map { ownValues.span[$0] }
    // All other ranks add zeros.
    try world.allReduce(&keys, with: .sum)
    try world.allReduce(&values, with: .sum)
    block.pack(
      keys: Tensor(shape: ownKeys.shape, buffer: AlignedBuffer(copying: keys.span)),
      values: Tensor(shape: ownValues.shape, buffer: AlignedBuffer(copying: values.span)))
  }

  private var gradientBytes: Int {
    KeyValueGradient.byteCount(
      keys: block.keyCount, shape: problem.shape, accumulation: problem.accumulation)
  }

  /// Gives the owners of sinks what each rank has found out about them.
  private func collect(
    _ own: Piece, in gradients: inout AttentionGradients
  ) throws(MPIError) {
    let bytes = own.bytes
    let message = (0..<bytes.byteCount).map {
      unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self)
    }
    let owners = (0..<block.keyCount).map { problem.keys.owner(of: $0).rank }
    for owner in Set(owners).sorted() {
      guard let parts = try world.gather(message, at: owner) else { continue }
      var sum = KeyValueGradient(
        shape: problem.shape, keys: block.keyCount, accumulation: problem.accumulation)
      for part in parts {
        let piece = StreamMemory.pieces(sizes: [part.count])[0]
        var target = piece.mutableBytes
        for (index, byte) in part.enumerated() {
          target.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
        }
        sum.add(problem.gradient(keys: block.keyCount, at: piece).value, team: team)
      }
      let dk = sum.dk()
      let dv = sum.dv()
      for (sink, local) in ownSinks {
        copyRow(of: dk, at: sink, to: &gradients.dk, at: local)
        copyRow(of: dv, at: sink, to: &gradients.dv, at: local)
      }
    }
  }
}

/// Copies a token's row of every sequence.
private func copyRow(
  of source: borrowing Tensor<Float>, at row: Int, to target: inout Tensor<Float>, at place: Int
) {
  let width = source.shape[2] * source.shape[3]
  let (sourceTokens, tokens) = (source.shape[1], target.shape[1])
  var numbers = target.mutableSpan
  for batch in 0..<source.shape[0] {
    for column in 0..<width {
      numbers[(batch * tokens + place) * width + column] =
        source.span[(batch * sourceTokens + row) * width + column]
    }
  }
}

/// Reads a sink's row of every sequence.
private func read(
  _ source: some TokenRows, of sink: Int, to target: inout Tensor<Float>
) throws {
  let (tokens, width) = (target.shape[1], source.rowLength)
  var numbers = target.mutableSpan
  for batch in 0..<source.shape[0] {
    let first = (batch * tokens + sink) * width
    var row = numbers.part(first..<first + width)
    try source.read(batch: batch, tokens: PositionRange(sink..<sink + 1), into: &row)
  }
}
