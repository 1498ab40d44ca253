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

  /// Takes what read the prompt.
  init(
    _ parts: PassParts, cache: PagedCache, division: WeightDivision?,
    on world: borrowing Communicator
  ) throws(MPIError) {
    (decoder, options, positions) = (parts.decoder, parts.options, parts.positions)
    self.cache = cache
    blocks = parts.blocks.dividing(by: division)
    let sizes = parts.decoder.sizes
    merge = try PartialMerge(heads: sizes.queryHeads, headDim: sizes.headDim, on: world)
    (isAlone, isFirst) = (world.size == 1, world.rank == 0)
  }

  /// Bytes of partial results that this rank has sent.
  var bytesSent: Int { merge.bytesSent }

  /// Attention of new tokens of a sequence over all its keys so far, `[tokens, queryHeads,
  /// headDim]`.
  func attend(
    _ queries: borrowing QueryShard, layer number: Int, of sequence: PageTable.Sequence
  ) throws(MPIError) -> Tensor<Float> {
    let layer = decoder.layers[number]
    let sinks = options.sinks(layer)
    var output = found(
      queries, by: sinks == 0 ? options.pattern(layer) : options.patternOfLater(layer),
      layer: number, of: sequence, below: nil)
    if sinks > 0 {
      output = output.merged(
        with: found(
          atSinks(queries, layer: number), by: options.pattern(layer), layer: number,
          of: sequence, below: sinks), team: options.team)
    }
    // One rank's is enough, as of a key that one rank has.
    if isFirst, let learned = layer.learnedSinks {
      output = learned.applied(to: output, team: options.team)
    }
    var merged = Tensor<Float>(zeros: output.o.shape)
    var span = merged.mutableSpan
    if isAlone {
      options.team.copy(output.o.span, to: &span)
    } else {
      try merge.merge(output, into: &span)
    }
    return merged
  }

  /// What this rank's keys give.
  private func found(
    _ queries: borrowing QueryShard, by pattern: any AttentionPattern, layer: Int,
    of sequence: PageTable.Sequence, below first: Int?
  ) -> AttentionOutput {
    var state = ForwardAccumulator(
      shape: decoder.attentionShape, tokens: queries.tokens, scale: decoder.scale,
      pattern: pattern, scoreRule: options.contextWindows?.scoreRule, team: options.team)
    cache.attend(queries, layer: layer, of: sequence, below: first, to: &state)
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
