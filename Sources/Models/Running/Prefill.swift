import Attention
public import MPI
import Mixers
import SequenceParallel
public import Sharding
import Tensors

/// A decoder's pass over a whole sequence that is divided among ranks.
///
/// Each rank computes all of every layer for its own tokens; in attention keys and values travel.
/// What is there of the widest rows is a chunk. With `n` tokens of a rank memory is `4 · n · width`
/// bytes of rows, `4 · q · (queryWidth + 2 · (queryWidth + queryHeads))` of queries and outputs
/// with what rounding takes from them, its block of keys and those that travel, and the room of a
/// chunk; see ``RunMemory``. `q` is `n`, or a chunk where ``RunOptions/chunksQueries``.
///
/// Sources: Liu and Abbeel 2023, Blockwise Parallel Transformer; Liu et al. 2023, Ring Attention
/// with Blockwise Transformers.
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
  private let chunksQueries: Bool
  /// The ranks as layers with states see them; nil without such layers.
  private let line: RankLine?

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
    // States go from token to token.
    let sharding =
      decoder.carriesState
      ? Sharding(.contiguous, tokens: tokens, ranks: world.size)
      : options.sharding(tokens: tokens, ranks: world.size)
    let blocks = DecoderBlocks(
      decoder, chunk: options.chunk, team: options.team, arithmetic: options.arithmetic,
      places: options.contextWindows?.places ?? TokenPositions())
    let positions = LayerPositions(decoder, options, tokens: context ?? tokens)
    var engineOptions = DistributedAttention.Options()
    engineOptions.team = options.team
    var forms: [LayerAttention.Form] = []
    var engines: [LayerAttention] = []
    var engineOfLayer: [Int] = []
    for (number, layer) in decoder.layers.enumerated() {
      let form = LayerAttention.Form(layer, options, positions[number])
      if let known = forms.firstIndex(of: form) {
        engineOfLayer.append(known)
        continue
      }
      let problem = ShardedAttention(
        shape: decoder.attentionShape, queries: sharding, keys: sharding,
        pattern: options.pattern(layer), scoreRule: options.contextWindows?.scoreRule,
        scale: decoder.scale, wire: options.keyValueType, arithmetic: options.arithmetic)
      engineOfLayer.append(forms.count)
      forms.append(form)
      engines.append(
        try LayerAttention(
          problem, form, route: options.route, options: engineOptions, on: world))
    }
    line =
      decoder.carriesState
      ? try RankLine(on: world, sharding: sharding, team: options.team) : nil
    (rank, chunksQueries) = (world.rank, options.chunksQueries)
    self.sharding = sharding
    self.blocks = blocks
    self.positions = positions
    self.engines = engines
    self.engineOfLayer = engineOfLayer
  }

  /// Runs all layers, called by all ranks together.
  ///
  /// - Parameters:
  ///   - tokens: of the whole sequence.
  ///   - kept: where this rank's keys and values stay; nil to keep none.
  ///   - states: is given those of layers that carry them, after the last token, on the rank that
  ///     holds it.
  ///   - progress: called with floating-point operations of this rank that are done.
  /// - Returns: `[tokens of this rank, width]`, as they leave the last layer, in the order of its
  ///   runs.
  func run(
    _ tokens: [Int], keeping kept: (cache: PagedCache, sequence: PageTable.Sequence)? = nil,
    states: (LayerStates) -> Void = { _ in }, progress: (_ work: Int) -> Void = { _ in }
  ) throws -> AlignedBuffer<Float> {
    precondition(tokens.count == sharding.tokens, "tokens of another sequence")
    let (decoder, runs) = (blocks.decoder, sharding.shards[rank])
    var rows = AlignedBuffer<Float>(zeros: sharding.tokenCount(of: rank) * decoder.sizes.width)
    var all = rows.mutableSpan
    blocks.embed(runs.flatMap { $0.map { tokens[$0] } }, positions: runs, into: &all)
    for number in decoder.layers.indices {
      try run(layer: number, rows: &rows, keeping: kept, progress: progress)
    }
    if let line { states(try carry(&rows, on: line, progress: progress)) }
    return rows
  }

  /// Runs all layers with states.
  ///
  /// - Returns: the states after the last token, on the rank that holds it.
  private func carry(
    _ rows: inout AlignedBuffer<Float>, on line: RankLine, progress: (_ work: Int) -> Void
  ) throws(MPIError) -> LayerStates {
    var after: [MixerTensors] = []
    for layer in blocks.decoder.stateLayers {
      var all = rows.mutableSpan
      after.append(try layer.run(&all, from: nil, blocks, on: line))
      progress(layer.work * line.tokens)
    }
    return LayerStates(after, tokens: sharding.tokens)
  }

  /// Where keys and values stay.
  private typealias Kept = (cache: PagedCache, sequence: PageTable.Sequence)

  /// Queries that are there at a time: indices among this rank's tokens, and their positions.
  private struct QueryPart {
    let tokens: Range<Int>
    let runs: [PositionRange]
  }

  /// As many on every rank, since all give their queries together.
  private var queryParts: [QueryPart] {
    let (count, runs) = (sharding.tokenCount(of: rank), sharding.shards[rank])
    let length = chunksQueries ? blocks.chunk : max(1, sharding.largestTokenCount)
    return stride(from: 0, to: max(1, sharding.largestTokenCount), by: length).map {
      let tokens = min($0, count)..<min($0 + length, count)
      return QueryPart(tokens: tokens, runs: runs.slice(tokens))
    }
  }

  private func run(
    layer number: Int, rows: inout AlignedBuffer<Float>, keeping kept: Kept?,
    progress: (_ work: Int) -> Void
  ) throws(MPIError) {
    let (layer, sizes) = (blocks.decoder.layers[number], blocks.decoder.sizes)
    let (engine, positions) = (engines[engineOfLayer[number]], positions[number])
    let parts = queryParts
    if parts.count == 1 {
      var queries = Tensor<Float>(
        zeros: [1, parts[0].tokens.count, sizes.queryHeads, sizes.headDim])
      engine.pack { block, sinks in
        var span = queries.mutableSpan
        blocks.project(
          rows.span, layer: layer, runs: block.runs, positions: positions, queries: &span
        ) { pack($0, $1, run: $2, from: $3, layer: number, in: &block, sinks, kept) }
      }
      return try attend(
        QueryShard(queries, runs: parts[0].runs), parts[0], layer: layer, engine, rows: &rows,
        progress: progress)
    }
    engine.pack { block, sinks in
      blocks.projectKeys(
        rows.span, layer: layer, runs: block.runs, positions: positions
      ) { pack($0, $1, run: $2, from: $3, layer: number, in: &block, sinks, kept) }
    }
    for part in parts {
      var queries = Tensor<Float>(
        zeros: [1, part.tokens.count, sizes.queryHeads, sizes.headDim])
      var span = queries.mutableSpan
      blocks.projectQueries(
        rows.span.extracting(part.tokens.scaled(by: sizes.width)), layer: layer, runs: part.runs,
        positions: positions, queries: &span)
      try attend(
        QueryShard(queries, runs: part.runs), part, layer: layer, engine, rows: &rows,
        progress: progress)
    }
  }

  /// Packs keys and values of a stretch of a run for attention, and keeps them.
  private func pack(
    _ keys: borrowing Span<Float>, _ values: borrowing Span<Float>, run: Int, from first: Int,
    layer: Int, in block: inout KeyValueBlock, _ sinks: SinkRows?, _ kept: Kept?
  ) {
    let end = first + keys.count / blocks.decoder.sizes.keyWidth
    let positions = block.runs[run].slice(first..<end)
    block.packKeys(copy keys, batch: 0, run: run, from: first, team: blocks.team)
    block.packValues(copy values, batch: 0, run: run, from: first, team: blocks.team)
    sinks?.take(keys: keys, values: values, at: positions)
    if let kept {
      kept.cache.write(
        keys: keys, values: values, layer: layer, of: kept.sequence, at: positions)
    }
  }

  /// Attention of some queries, and what of the layer follows.
  private func attend(
    _ queries: consuming QueryShard, _ part: QueryPart, layer: DecoderLayer,
    _ engine: LayerAttention, rows: inout AlignedBuffer<Float>, progress: (_ work: Int) -> Void
  ) throws(MPIError) {
    let work = layer.productWork * part.tokens.count
    progress(work / 3)
    let scoreWork = 4 * blocks.decoder.sizes.headDim * blocks.team.threads
    // The others compute about as many meanwhile.
    var output = try engine.forward(queries) { progress($0 * scoreWork) }
    if let sinks = layer.learnedSinks { output = sinks.applied(to: output, team: blocks.team) }
    var all = rows.mutableSpan
    var span = all.part(part.tokens.scaled(by: blocks.decoder.sizes.width))
    blocks.finish(output.o.span, layer: layer, rows: &span)
    progress(work - work / 3)
  }

  /// Bytes that this rank has sent so far.
  public var bytesSent: Int {
    engines.reduce(line?.traffic.bytesSent ?? 0) { $0 + $1.bytesSent }
  }
}

extension Prefill {
  /// Gives back what connects the ranks, called by all of them together.
  public consuming func close() throws(MPIError) {
    for engine in engines { try engine.close() }
  }
}

extension [PositionRange] {
  /// The positions of some neighbours among the tokens of a shard.
  fileprivate func slice(_ tokens: Range<Int>) -> [PositionRange] {
    var start = 0
    return compactMap { run in
      defer { start += run.count }
      let part = tokens.clamped(to: start..<start + run.count)
      return part.isEmpty ? nil : run.slice(part.lowerBound - start..<part.upperBound - start)
    }
  }
}
