import Attention
public import MPI
import SequenceParallel
import Sharding
import Tensors

/// What all passes over pieces of a sequence have in common.
struct PassParts {
  let decoder: Decoder
  let options: RunOptions
  let positions: LayerPositions
  let blocks: DecoderBlocks
  let topology: Topology
}

/// How a decoder reads a sequence that is divided among ranks: in one pass, or in pieces one after
/// the other.
///
/// Each rank computes all of every layer for its own tokens; in attention keys and values travel.
/// What is there of the widest rows is a chunk. With `n` tokens of a rank, those of a piece where
/// ``RunOptions/piece`` says so, memory is `4 · n · width` bytes of rows,
/// `4 · q · (queryWidth + 2 · (queryWidth + queryHeads))` of queries and outputs
/// with what rounding takes from them, its block of keys and those that travel, and the room of a
/// chunk; see ``RunMemory``. `q` is `n`, or a chunk where ``RunOptions/chunksQueries``. A piece
/// attends to the keys of those before it, which stay in a cache.
///
/// Sources: Liu and Abbeel 2023, Blockwise Parallel Transformer; Liu et al. 2023, Ring Attention
/// with Blockwise Transformers; Agrawal et al. 2024, Sarathi-Serve (prefills in pieces).
public final class Prefill {
  /// What computes, kept for what follows.
  let parts: PassParts
  private let plan: PiecePlan
  /// Bytes that this rank has sent so far.
  public private(set) var bytesSent = 0

  /// What computes rows of the whole sequence.
  var blocks: DecoderBlocks { parts.blocks.reading(plan.tokens) }

  /// Prepares all, called by all ranks together.
  ///
  /// - Parameters:
  ///   - tokens: of the sequence.
  ///   - context: how long the sequence will become; some scalings of positions depend on it.
  /// - Throws: `MPIError`.
  public init(
    _ decoder: Decoder, tokens: Int, context: Int? = nil, options: RunOptions,
    on world: borrowing Communicator
  ) throws {
    plan = PiecePlan(decoder, options, tokens: tokens, ranks: world.size)
    parts = PassParts(
      decoder: decoder, options: options,
      positions: LayerPositions(decoder, options, tokens: context ?? tokens),
      blocks: DecoderBlocks(
        decoder, chunk: options.chunk, team: options.team, arithmetic: options.productArithmetic,
        isReproducible: options.accumulation == .reproducible,
        places: options.contextWindows?.places ?? TokenPositions()),
      topology: try Topology(of: world))
  }

  /// Reads all tokens, called by all ranks together.
  ///
  /// - Parameters:
  ///   - tokens: of the whole sequence.
  ///   - kept: a sequence without tokens, where keys and values stay; nil to keep none.
  ///   - progress: called with floating-point operations of this rank that are done.
  ///   - body: is given `[tokens of this rank, width]` of each piece, as they leave the last layer
  ///     in the order of this rank's runs, and which rank holds which tokens of it.
  /// - Returns: the states of layers that carry them, on every rank.
  /// - Throws: `MPIError`, and `RouteError` if the route cannot serve the ranks.
  @discardableResult
  func run(
    _ tokens: [Int], keeping kept: KeptSequence? = nil, on world: borrowing Communicator,
    progress: (_ work: Int) -> Void = { _ in },
    _ body: (_ rows: borrowing Span<Float>, _ sharding: Sharding) throws -> Void
  ) throws -> LayerStates {
    precondition(tokens.count == plan.tokens, "tokens of another sequence")
    let needsKeys = plan.count > 1 && !parts.decoder.carriesState
    let kept = kept ?? (needsKeys ? makeKept(on: world) : nil)
    var states = LayerStates()
    for index in 0..<plan.count {
      let sharding = plan.sharding(index)
      let rows = try read(
        tokens[plan.range(index)], of: tokens.count, dividedAs: sharding, keeping: kept,
        states: &states, on: world, progress: progress)
      try body(rows.span, sharding)
    }
    return states
  }

  private func makeKept(on world: borrowing Communicator) -> KeptSequence {
    let cache = PagedCache(
      parts.decoder, parts.options, rank: world.rank, ranks: world.size)
    return KeptSequence(cache: cache, sequence: cache.create())
  }

  /// Reads tokens that come after those of the sequence so far, called by all ranks together.
  ///
  /// - Parameters:
  ///   - text: how many tokens are read in all, of which these may be a piece.
  ///   - sharding: of the sequence when they have been read; positions before them are nobody's.
  ///   - states: of the sequence so far, and then with these; on every rank.
  /// - Returns: `[tokens of this rank, width]`.
  func read(
    _ tokens: ArraySlice<Int>, of text: Int, dividedAs sharding: Sharding,
    keeping kept: KeptSequence?, states: inout LayerStates, on world: borrowing Communicator,
    progress: (_ work: Int) -> Void
  ) throws -> AlignedBuffer<Float> {
    let carriesState = parts.decoder.carriesState
    let pass = try PiecePass(
      parts, parts.blocks.reading(text), sharding: sharding,
      from: sharding.tokens - tokens.count, keeping: carriesState ? nil : kept, on: world)
    let rows = try pass.run(tokens, states: &states, progress: progress)
    bytesSent += pass.bytesSent
    try pass.close()
    if carriesState {
      try states.share(from: sharding.owner(of: sharding.tokens - 1).rank, on: world)
    }
    return rows
  }
}

extension PagedCache {
  /// One as options say.
  convenience init(_ decoder: Decoder, _ options: RunOptions, rank: Int, ranks: Int) {
    self.init(
      shape: decoder.attentionShape, layers: decoder.layers.count, type: options.cacheType,
      pageTokens: options.pageTokens, ranks: ranks, rank: rank, team: options.team)
  }
}
