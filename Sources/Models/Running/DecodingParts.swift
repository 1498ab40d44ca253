import Attention
import MPI
import SequenceParallel
import Sharding
import Tensors

/// What all sequences that grow out of one prompt have in common.
final class DecodingParts {
  let decoder: Decoder
  let options: RunOptions
  let blocks: DecoderBlocks
  let positions: LayerPositions
  let cache: PagedCache
  private let merge: PartialMerge
  private let isAlone, isFirst: Bool
  /// Sequences that there are, and the most that there have been at once.
  private var sequences = 1
  private(set) var mostSequences = 1

  /// Takes what read the prompt.
  init(
    _ parts: PassParts, cache: PagedCache, division: WeightDivision?,
    on world: borrowing Communicator
  ) throws(MPIError) {
    (decoder, options, positions) = (parts.decoder, parts.options, parts.positions)
    self.cache = cache
    blocks = parts.blocks.dividing(by: division)
    merge = try PartialMerge(on: world)
    (isAlone, isFirst) = (world.size == 1, world.rank == 0)
  }

  /// Counts a sequence more.
  func begin() {
    sequences += 1
    mostSequences = max(mostSequences, sequences)
  }

  /// Counts one less.
  func end() { sequences -= 1 }

  /// Bytes of partial results that this rank has sent.
  var bytesSent: Int { merge.bytesSent }

  /// Attention of new tokens over all keys of their sequences so far, `[tokens, queryHeads,
  /// headDim]`.
  ///
  /// Pages that all sequences share are read once for many of them.
  ///
  /// Source: Juravsky et al. 2024, Hydragen, section 3.
  func attend(
    _ queries: borrowing QueryShard, layer number: Int, of growing: GrowingSequences
  ) throws(MPIError) -> Tensor<Float> {
    let sizes = decoder.sizes
    var merged = Tensor<Float>(zeros: queries.tensor.shape)
    var span = merged.mutableSpan
    if isAlone, growing.count == 1 {
      let output = shared(queries, growing, layer: number)
      options.team.copy(output.o.span, to: &span)
      return merged
    }
    var rows = PartialRows(
      tokens: queries.tokens, heads: sizes.queryHeads, headDim: sizes.headDim)
    for group in growing.groups(rowsOfToken: sizes.queryHeads / sizes.kvHeads) {
      rows.take(
        shared(growing.queries(queries, of: group), growing, layer: number),
        at: growing.firstToken(of: group.lowerBound))
    }
    for (sequence, pages) in growing.pages.own.enumerated() where !pages.isEmpty {
      let part = growing.queries(queries, of: sequence..<sequence + 1)
      rows.take(
        found(part, in: pages, layer: number), at: growing.firstToken(of: sequence))
    }
    if !isAlone { try merge.merge(&rows) }
    rows.write(to: &span)
    return merged
  }

  /// What pages of this rank give that all sequences have, and what comes to each row once.
  private func shared(
    _ queries: borrowing QueryShard, _ growing: GrowingSequences, layer number: Int
  ) -> AttentionOutput {
    let output = found(queries, in: growing.pages.shared, layer: number)
    // One rank's is enough, as of a key that one rank has.
    guard isFirst, let learned = decoder.layers[number].learnedSinks else { return output }
    return learned.applied(to: output, team: options.team)
  }

  /// What keys in some pages of this rank give, sinks from where they stand.
  private func found(
    _ queries: borrowing QueryShard, in pages: [PagedCache.SequencePages.Page], layer number: Int
  ) -> AttentionOutput {
    let layer = decoder.layers[number]
    let sinks = options.sinks(layer)
    if sinks == 0 {
      return found(queries, by: options.pattern(layer), in: pages, layer: number, below: nil)
    }
    return found(
      queries, by: options.patternOfLater(layer), in: pages, layer: number, below: nil
    ).merged(
      with: found(
        atSinks(queries, layer: number), by: options.pattern(layer), in: pages, layer: number,
        below: sinks), team: options.team)
  }

  private func found(
    _ queries: borrowing QueryShard, by pattern: any AttentionPattern,
    in pages: [PagedCache.SequencePages.Page], layer: Int, below first: Int?
  ) -> AttentionOutput {
    var state = ForwardAccumulator(
      shape: decoder.attentionShape, tokens: queries.tokens, scale: decoder.scale,
      pattern: pattern, scoreRule: options.contextWindows?.scoreRule, team: options.team)
    cache.attend(queries, layer: layer, to: pages, below: first, state: &state)
    return state.finish()
  }

  /// Queries where they stand for sinks: next to the window, as in a cache of nothing else.
  private func atSinks(_ queries: borrowing QueryShard, layer: Int) -> QueryShard {
    var tensor = Tensor<Float>(zeros: queries.tensor.shape)
    var rows = tensor.mutableSpan
    options.team.copy(queries.tensor.span, to: &rows)
    let last = options.sinks(decoder.layers[layer]) + (options.window ?? 0) - 1
    positions[layer]?.turningAlone.turn(&tensor, runs: queries.runs) { _, token in
      min(last - token, 0)
    }
    return QueryShard(tensor, runs: queries.runs)
  }
}
