import Attention
public import MPI
import SequenceParallel
import Sharding
import Tensors

/// A sequence that grows: keys and values stay where they are, each rank has the queries of what is
/// new, and partial results are merged.
///
/// A rank computes all products of the new tokens, of which there are few, and has all of its
/// threads do so; of the output's matrix each rank takes a part of the vocabulary.
public final class Generation {
  private let decoder: Decoder
  private let options: RunOptions
  private let blocks: DecoderBlocks
  private let positions: LayerPositions
  private let caches: [LayerCache]
  private var plan: CachePlan
  private let merge: PartialMerge
  /// Tokens so far.
  public private(set) var tokens: [Int] = []

  /// Those of what comes after the tokens, on every rank.
  public private(set) var logits: [Float] = []

  /// Reads a prompt, called by all ranks together.
  ///
  /// - Parameters:
  ///   - prompt: at least one token.
  ///   - context: the most tokens that the sequence will have.
  ///   - progress: as in ``Prefill``.
  public init(
    _ decoder: Decoder, prompt: [Int], context: Int, options: RunOptions,
    pageTokens: Int = 256, on world: borrowing Communicator,
    progress: (_ work: Int) -> Void = { _ in }
  ) throws {
    precondition(!prompt.isEmpty, "a prompt has a token")
    let sizes = decoder.sizes
    let caches = decoder.layers.map { _ in
      LayerCache(shape: decoder.attentionShape, type: options.keyValueType)
    }
    let prefill = try Prefill(
      decoder, tokens: prompt.count, context: context, options: options, on: world)
    let rows = try prefill.run(prompt, keeping: caches, progress: progress)
    let sharding = prefill.sharding
    let (owner, index) = sharding.owner(of: prompt.count - 1)
    var last = [Float](repeating: 0, count: sizes.width)
    if world.rank == owner {
      for column in 0..<sizes.width { last[column] = rows[index * sizes.width + column] }
    }
    try world.broadcast(&last, from: owner)
    let merge = try PartialMerge(heads: sizes.queryHeads, headDim: sizes.headDim)
    try prefill.close()
    let division =
      world.size > 1 && options.dividesWeights ? try WeightDivision(of: world) : nil
    self.decoder = decoder
    self.options = options
    self.caches = caches
    self.merge = merge
    blocks = DecoderBlocks(
      decoder, chunk: options.chunk, team: options.team, arithmetic: options.arithmetic,
      division: division)
    positions = LayerPositions(decoder, options, tokens: context)
    plan = CachePlan(prompt: sharding, pageTokens: pageTokens)
    tokens = prompt
    logits = try logits(last)
  }

  /// Bytes of this rank's keys and values.
  public var cacheBytes: Int { caches.reduce(0) { $0 + $1.byteCount } }

  /// Adds tokens to the sequence, called by all ranks together.
  ///
  /// - Parameter new: at least one token.
  public func extend(
    by new: [Int], on world: borrowing Communicator
  ) throws(MPIError) {
    // As many at a time as there is room for.
    for first in stride(from: 0, to: new.count, by: options.chunk) {
      let part = Array(new[first..<min(first + options.chunk, new.count)])
      let last = try extendRows(by: part, on: world)
      if first + part.count == new.count { logits = try logits(last) }
    }
  }

  /// Takes tokens back, so that others can follow those that are left; what it knows of the next
  /// token is old until some do.
  ///
  /// Their keys stay where they are, at positions that no query sees before they are written again.
  ///
  /// - Parameter count: tokens that are left, at least those of the prompt.
  public func rewind(to count: Int) {
    precondition(count >= plan.promptTokens && count <= tokens.count, "no \(count) tokens")
    tokens.removeLast(tokens.count - count)
  }

  /// Adds at most a chunk of tokens.
  ///
  /// - Returns: the row of the last, `[width]`.
  private func extendRows(
    by new: [Int], on world: borrowing Communicator
  ) throws(MPIError) -> [Float] {
    let (sizes, count, rank) = (decoder.sizes, new.count, world.rank)
    let run = PositionRange(start: tokens.count, count: count)
    let places = run.map { plan.place(of: $0) }
    var rows = AlignedBuffer<Float>(zeros: count * sizes.width)
    var all = rows.mutableSpan
    blocks.embed(new, positions: [run], into: &all)
    for (number, layer) in decoder.layers.enumerated() {
      let cache = caches[number]
      var queries = Tensor<Float>(zeros: [1, count, sizes.queryHeads, sizes.headDim])
      var span = queries.mutableSpan
      blocks.project(
        rows.span, layer: layer, runs: [run], positions: positions[number], queries: &span
      ) { keys, values, _, first in
        for index in 0..<keys.count / sizes.keyWidth {
          let place = places[first + index]
          guard place.rank == rank else { continue }
          let part = index * sizes.keyWidth..<(index + 1) * sizes.keyWidth
          cache.append(
            keys: keys.extracting(part), values: values.extracting(part), page: place.page,
            index: place.index, positions: plan.positions(ofPage: place.page))
        }
      }
      let outputs = try attend(QueryShard(queries, runs: [run]), layer, cache, on: world)
      var rowSpan = rows.mutableSpan
      blocks.finish(outputs.span, layer: layer, rows: &rowSpan)
    }
    if let failure = blocks.failure { throw failure }
    tokens += new
    let last = rows.span.extracting((count - 1) * sizes.width..<count * sizes.width)
    return last.indices.map { last[$0] }
  }

  /// Attention of new tokens over all keys so far, `[tokens, queryHeads, headDim]`.
  private func attend(
    _ queries: borrowing QueryShard, _ layer: DecoderLayer, _ cache: LayerCache,
    on world: borrowing Communicator
  ) throws(MPIError) -> Tensor<Float> {
    var state = ForwardAccumulator(
      shape: decoder.attentionShape, tokens: queries.tokens, scale: decoder.scale,
      pattern: options.pattern(layer), team: options.team)
    cache.attend(queries, &state)
    let output = state.finish()
    var merged = Tensor<Float>(zeros: output.o.shape)
    var span = merged.mutableSpan
    if world.size == 1 {
      options.team.copy(output.o.span, to: &span)
    } else {
      try merge.merge(output, into: &span, on: world)
    }
    return merged
  }

  /// The logits of a row.
  private func logits(_ row: [Float]) throws(MPIError) -> [Float] {
    var logits = [Float](repeating: 0, count: decoder.sizes.vocabulary)
    var span = logits.mutableSpan
    blocks.logits(row.span, into: &span)
    if let failure = blocks.failure { throw failure }
    return logits
  }
}
