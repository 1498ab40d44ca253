import Attention
public import MPI
import SequenceParallel
public import Sharding
import Tensors

/// A decoder's pass over a whole sequence that is divided among ranks.
///
/// Each rank computes all of every layer for its own tokens; in attention keys and values travel.
/// What is there of the widest rows is a chunk. With `n` tokens of a rank memory is `4 · n · (width
/// + queryWidth + 2 · (queryWidth + queryHeads))` bytes of rows, queries and outputs with what
/// rounding takes from them, its block of keys and those that travel, and the room of a chunk; see
/// ``RunMemory``.
///
/// Source: Liu et al. 2023, Ring Attention with Blockwise Transformers.
public struct Prefill: ~Copyable {
  /// Which rank holds which tokens.
  public let sharding: Sharding
  /// What computes the rest, kept for what follows.
  let blocks: DecoderBlocks
  private let rank: Int
  private let positions: LayerPositions
  /// For each layer, which of the engines is its.
  private let engineOfLayer: [Int]
  private let engines: [LayerAttention]

  /// Connects the ranks, called by all of them together.
  ///
  /// - Parameters:
  ///   - tokens: of the sequence.
  ///   - context: how long the sequence will become; some scalings of positions depend on it.
  /// - Throws: `MPIError`, and `RouteError` if the route cannot serve the ranks.
  public init(
    _ decoder: Decoder, tokens: Int, context: Int? = nil, options: RunOptions,
    on world: borrowing Communicator
  ) throws {
    sharding = options.sharding(tokens: tokens, ranks: world.size)
    rank = world.rank
    blocks = DecoderBlocks(
      decoder, chunk: options.chunk, team: options.team, arithmetic: options.arithmetic)
    positions = LayerPositions(decoder, options, tokens: context ?? tokens)
    var engineOptions = DistributedAttention.Options()
    engineOptions.team = options.team
    var widths: [Int?] = []
    var engines: [LayerAttention] = []
    var engineOfLayer: [Int] = []
    for layer in decoder.layers {
      let width = options.width(layer)
      if let known = widths.firstIndex(of: width) {
        engineOfLayer.append(known)
        continue
      }
      let problem = ShardedAttention(
        shape: decoder.attentionShape, queries: sharding, keys: sharding,
        pattern: options.pattern(layer), scale: decoder.scale, wire: options.keyValueType,
        arithmetic: options.arithmetic)
      engineOfLayer.append(widths.count)
      widths.append(width)
      engines.append(
        LayerAttention(
          try DistributedAttention(
            problem, route: options.route, options: engineOptions, on: world)))
    }
    self.engines = engines
    self.engineOfLayer = engineOfLayer
  }

  /// Runs all layers, called by all ranks together.
  ///
  /// - Parameters:
  ///   - tokens: of the whole sequence.
  ///   - caches: for each layer, where this rank's keys and values are kept; empty to keep none.
  ///   - progress: called with floating-point operations of this rank that are done.
  /// - Returns: `[tokens of this rank, width]`, as they leave the last layer, in the order of its
  ///   runs.
  func run(
    _ tokens: [Int], keeping caches: [LayerCache] = [], progress: (_ work: Int) -> Void = { _ in }
  ) throws -> AlignedBuffer<Float> {
    precondition(tokens.count == sharding.tokens, "tokens of another sequence")
    let (decoder, runs) = (blocks.decoder, sharding.shards[rank])
    let (sizes, team) = (decoder.sizes, blocks.team)
    let count = sharding.tokenCount(of: rank)
    var rows = AlignedBuffer<Float>(zeros: count * sizes.width)
    var all = rows.mutableSpan
    blocks.embed(runs.flatMap { $0.map { tokens[$0] } }, positions: runs, into: &all)
    let scoreWork = 4 * sizes.headDim
    for (number, layer) in decoder.layers.enumerated() {
      let engine = engines[engineOfLayer[number]]
      let productWork = layer.productWork * count
      var queries = Tensor<Float>(zeros: [1, count, sizes.queryHeads, sizes.headDim])
      engine.pack { block in
        var span = queries.mutableSpan
        blocks.project(
          rows.span, layer: layer, runs: block.runs, positions: positions[number],
          queries: &span
        ) { keys, values, run, first in
          block.packKeys(keys, batch: 0, run: run, from: first, team: team)
          block.packValues(values, batch: 0, run: run, from: first, team: team)
        }
        if !caches.isEmpty { caches[number].keep(block) }
      }
      progress(productWork / 3)
      let output = try engine.forward(QueryShard(queries, runs: runs)) {
        // The others compute about as many meanwhile.
        progress($0 * scoreWork * team.threads)
      }
      var span = rows.mutableSpan
      blocks.finish(output.o.span, layer: layer, rows: &span)
      progress(productWork - productWork / 3)
    }
    return rows
  }

  /// Bytes that this rank has sent so far.
  public var bytesSent: Int { engines.reduce(0) { $0 + $1.bytesSent } }
}

extension Prefill {
  /// Gives back what connects the ranks, called by all of them together.
  public consuming func close() throws(MPIError) {
    for engine in engines { try engine.close() }
  }
}
