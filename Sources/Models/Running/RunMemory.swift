import Attention
public import SequenceParallel
import Sharding

/// What a rank's memory is for while it runs a decoder, in bytes.
///
/// All is known before anything is taken. Weights are the pages of a file that ranks of a host
/// share.
public struct RunMemory: Hashable, Sendable {
  /// Matrices in files, as they are stored, and copies of them that ranks of a host share.
  public let weights: Int
  /// Matrices that each rank has in a form of its own, since its file has them in another.
  public let copies: Int
  /// Keys and values that stay: pages of `layers · pageTokens · kvHeads · 2 · headDim` elements;
  /// or states.
  public let cache: Int
  /// The rows of a rank's tokens, their queries and outputs, and blocks that are here or travel;
  /// or what a layer with a state makes of them.
  public let attention: Int
  /// One chunk of a layer, and logits.
  public let chunk: Int

  /// Works out the memory of a rank.
  ///
  /// - Parameters:
  ///   - prompt: tokens of the prefill.
  ///   - context: the most tokens that the sequence will have, if they are kept; nil where nothing
  ///     is.
  public init(
    _ decoder: Decoder, prompt: Int, context: Int?, options: RunOptions, topology: Topology,
    rank: Int
  ) {
    let ranks = topology.nodes.reduce(0) { $0 + $1.count }
    let plan = PiecePlan(decoder, options, tokens: prompt, ranks: ranks)
    (weights, copies) = (decoder.weightBytes - decoder.copiedBytes, decoder.copiedBytes)
    // Those of sequences beside each other are there twice, and again while ranks exchange them.
    let logits = max(Prefill.logitBytes, 4 * 4 * options.forks * decoder.sizes.vocabulary)
    chunk =
      BlockRoom.byteCount(
        decoder.sizes, chunk: options.chunk, arithmetic: options.productArithmetic) + logits
    var plans = [plan]
    if let context, options.isFollowed, options.dividesFollowUps, context > prompt, ranks > 1 {
      plans.append(
        PiecePlan(
          decoder, options.ofFollowUp(ranks: ranks), tokens: context, ranks: ranks))
    }
    if decoder.carriesState {
      let rowWidth = decoder.stateLayers.map(\.rowWidth).max() ?? 0
      attention = plans.reduce(0) {
        max($0, 4 * $1.sharding(0).tokenCount(of: rank) * (decoder.sizes.width + rowWidth))
      }
      // Those after the prompt stay, and new ones are made of the last, which of several sequences
      // stand together for a layer meanwhile.
      let sequences = max(1, options.forks)
      let ofLayer = options.forks * 2 * decoder.stateBytes / decoder.stateLayers.count
      cache =
        context == nil && plan.count == 1
        ? decoder.stateBytes : (1 + 2 * sequences) * decoder.stateBytes + ofLayer
      return
    }
    let positions = LayerPositions(decoder, options, tokens: context ?? prompt)
    attention = plans.reduce(0) {
      max(
        $0,
        Self.attentionBytes(
          decoder, of: $1, options: options, positions: positions, topology: topology, rank: rank))
    }
    cache =
      context == nil && plan.count == 1
      ? 0
      : options.cacheBytes(decoder, prompt: plan, context: context ?? prompt, rank: rank)
  }

  /// Rows, queries, outputs and blocks of the piece that needs most.
  private static func attentionBytes(
    _ decoder: Decoder, of plan: PiecePlan, options: RunOptions, positions: LayerPositions,
    topology: Topology, rank: Int
  ) -> Int {
    let (shape, (piece, start, kept)) = (decoder.attentionShape, plan.largest)
    var problems: [LayerAttention.Form: ShardedAttention] = [:]
    for (number, layer) in decoder.layers.enumerated() {
      let form = LayerAttention.Form(layer, options, positions[number])
      if problems[form] != nil { continue }
      problems[form] = options.problem(decoder, layer, piece: piece, from: start, kept: kept)
    }
    let engines = problems.values.reduce(0.0) {
      let route = options.route(of: $1, topology: topology)
      return $0
        + RoutePlanner($1, topology: topology).residentBytes(on: route, backward: nil)[rank]
    }
    let tokens = piece.tokenCount(of: rank)
    // Queries whose rows are there at a time.
    let queries = options.chunksQueries ? min(tokens, options.chunk) : tokens
    return 4 * tokens * decoder.sizes.width + Int(engines)
      - (tokens - queries) * bytesOfQuery(shape, options.accumulation)
      + (problems.keys.contains { $0.sinks > 0 } ? queries * bytesOfSinkRows(shape) : 0)
  }

  /// Those of a token's queries, outputs and sums, with what rounding takes or reproducible sums,
  /// where keys travel.
  private static func bytesOfQuery(_ shape: AttentionShape, _ sums: Accumulation) -> Int {
    let beside = (sums == .fast ? 4 : 16) * (shape.valueHeadDim + 1)
    return shape.queryHeads * (4 * (shape.headDim + shape.valueHeadDim + 2) + beside)
  }

  /// Those of a token's queries where they stand for sinks, and of what sinks give them.
  private static func bytesOfSinkRows(_ shape: AttentionShape) -> Int {
    4 * shape.queryHeads * (shape.headDim + 2 * shape.valueHeadDim + 5)
  }

  /// All but weights, which ranks share.
  public var ownBytes: Int { copies + cache + attention + chunk }
}
