import Attention
public import SequenceParallel
import Sharding

/// What a rank's memory is for while it runs a decoder, in bytes.
///
/// All is known before anything is taken. Weights are the pages of a file that ranks of a host
/// share.
public struct RunMemory: Hashable, Sendable {
  /// All matrices, as they are stored.
  public let weights: Int
  /// Keys and values that stay: `layers · tokens · kvHeads · 2 · headDim` elements, of the rank
  /// with most tokens.
  public let cache: Int
  /// The rows of a rank's tokens, their queries and outputs, and blocks that are here or travel.
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
    rank: Int, pageTokens: Int = 256
  ) {
    let (shape, ranks) = (decoder.attentionShape, topology.nodes.reduce(0) { $0 + $1.count })
    let sharding = options.sharding(tokens: prompt, ranks: ranks)
    weights = decoder.weightBytes
    var problems: [Int?: ShardedAttention] = [:]
    for layer in decoder.layers where problems[options.width(layer)] == nil {
      problems[options.width(layer)] = ShardedAttention(
        shape: shape, queries: sharding, keys: sharding, pattern: options.pattern(layer),
        scale: decoder.scale, wire: options.keyValueType, arithmetic: options.arithmetic)
    }
    let engines = problems.values.reduce(0.0) {
      $0
        + RoutePlanner($1, topology: topology).residentBytes(on: options.route, backward: nil)[rank]
    }
    attention = 4 * sharding.tokenCount(of: rank) * decoder.sizes.width + Int(engines)
    chunk =
      BlockRoom.byteCount(decoder.sizes, chunk: options.chunk) + Prefill.logitBytes
    guard let context else {
      cache = 0
      return
    }
    var plan = CachePlan(prompt: sharding, pageTokens: pageTokens)
    if context > prompt { _ = plan.place(of: context - 1) }
    cache =
      decoder.layers.count
      * KeyValueBlock.byteCount(
        keys: plan.loads[rank], shape: shape, elementType: options.keyValueType)
  }

  /// All but weights, which ranks share.
  public var ownBytes: Int { cache + attention + chunk }
}
