import Attention
import MPI
import Mixers
import SequenceParallel
import Sharding
import Tensors

/// Where keys and values of a sequence stay.
struct KeptSequence {
  let cache: PagedCache
  let sequence: PageTable.Sequence
}

/// A decoder's pass over neighbouring tokens of a sequence that are divided among ranks: all of
/// them, or a piece that comes after others, whose keys and values are in a cache.
///
/// Each rank computes all of every layer for its own tokens; in attention keys and values travel,
/// those that are kept with those of the piece: of a layer, each rank copies what it keeps into its
/// block, so that the piece is the queries of a problem like any other.
struct PiecePass: ~Copyable {
  /// Which rank holds which tokens; those before the piece are nobody's.
  private let sharding: Sharding
  /// The position of its first token.
  private let start: Int
  private let parts: PassParts
  private let blocks: DecoderBlocks
  private let rank: Int
  private let kept: KeptSequence?
  /// For each layer, which of the engines is its.
  private let engineOfLayer: [Int]
  private let engines: [LayerAttention]
  /// The ranks as layers with states see them; nil without such layers.
  private let line: RankLine?

  /// Connects the ranks and makes room in the cache, called by all ranks together.
  ///
  /// - Parameters:
  ///   - blocks: what computes its rows.
  ///   - sharding: of positions from `start` on.
  ///   - kept: what there is of the sequence before, and where keys and values stay; nil if there
  ///     is nothing, and nothing stays.
  init(
    _ parts: PassParts, _ blocks: DecoderBlocks, sharding: Sharding, from start: Int,
    keeping kept: KeptSequence?, on world: borrowing Communicator
  ) throws {
    let (decoder, options) = (parts.decoder, parts.options)
    var earlier = Array(repeating: [PositionRange](), count: world.size)
    if let kept {
      kept.cache.release(options.hidden(decoder, before: start), of: kept.sequence)
      earlier = kept.cache.table.runs(of: kept.sequence)
      kept.cache.append(
        sharding, to: kept.sequence, hiding: options.hidden(decoder, before: sharding.tokens))
    }
    var engineOptions = DistributedAttention.Options()
    engineOptions.team = options.team
    engineOptions.topology = parts.topology
    var forms: [LayerAttention.Form] = []
    var engines: [LayerAttention] = []
    var engineOfLayer: [Int] = []
    for (number, layer) in decoder.layers.enumerated() {
      let form = LayerAttention.Form(layer, options, parts.positions[number])
      if let known = forms.firstIndex(of: form) {
        engineOfLayer.append(known)
        continue
      }
      let problem = options.problem(decoder, layer, piece: sharding, from: start, kept: earlier)
      engineOfLayer.append(forms.count)
      forms.append(form)
      engines.append(
        try LayerAttention(
          problem, form, route: options.route(of: problem, topology: parts.topology),
          options: engineOptions, on: world))
    }
    line =
      decoder.carriesState
      ? try RankLine(
        on: world,
        sharding: Sharding(.contiguous, tokens: sharding.tokens - start, ranks: world.size),
        team: options.team) : nil
    line?.goesOn = true
    (self.parts, self.blocks, self.sharding) = (parts, blocks, sharding)
    (self.start, self.kept) = (start, kept)
    rank = world.rank
    self.engines = engines
    self.engineOfLayer = engineOfLayer
  }

  /// Runs all layers, called by all ranks together.
  ///
  /// - Parameters:
  ///   - tokens: of the piece.
  ///   - states: those of layers that carry them before the piece, on every rank, and then those
  ///     after it on the rank that holds its last token.
  ///   - progress: called with floating-point operations of this rank that are done.
  /// - Returns: `[tokens of this rank, width]`, as they leave the last layer, in the order of its
  ///   runs.
  func run(
    _ tokens: ArraySlice<Int>, states: inout LayerStates, progress: (_ work: Int) -> Void
  ) throws -> AlignedBuffer<Float> {
    precondition(start + tokens.count == sharding.tokens, "tokens of another piece")
    let (decoder, runs) = (blocks.decoder, sharding.shards[rank])
    let first = tokens.startIndex - start
    var rows = AlignedBuffer<Float>(zeros: sharding.tokenCount(of: rank) * decoder.sizes.width)
    var all = rows.mutableSpan
    blocks.embed(runs.flatMap { $0.map { tokens[first + $0] } }, positions: runs, into: &all)
    for number in decoder.layers.indices {
      try run(layer: number, rows: &rows, progress: progress)
    }
    if let line { states = try carry(&rows, from: states, on: line, progress: progress) }
    return rows
  }

  /// Runs all layers with states.
  ///
  /// - Returns: the states after the last token, on the rank that holds it.
  private func carry(
    _ rows: inout AlignedBuffer<Float>, from states: LayerStates, on line: RankLine,
    progress: (_ work: Int) -> Void
  ) throws(MPIError) -> LayerStates {
    var after: [MixerTensors] = []
    for (number, layer) in blocks.decoder.stateLayers.enumerated() {
      var all = rows.mutableSpan
      after.append(try layer.run(&all, of: 1, from: states[number], blocks, on: line))
      progress(layer.work * line.tokens)
    }
    return LayerStates(after, tokens: sharding.tokens)
  }

  /// Queries that are there at a time: indices among this rank's tokens, and their positions.
  private struct QueryPart {
    let tokens: Range<Int>
    let runs: [PositionRange]
  }

  /// As many on every rank, since all give their queries together.
  private var queryParts: [QueryPart] {
    let (count, runs) = (sharding.tokenCount(of: rank), sharding.shards[rank])
    let length =
      parts.options.chunksQueries ? blocks.chunk : max(1, sharding.largestTokenCount)
    return stride(from: 0, to: max(1, sharding.largestTokenCount), by: length).map {
      let tokens = min($0, count)..<min($0 + length, count)
      return QueryPart(tokens: tokens, runs: runs.slice(tokens))
    }
  }

  private func run(
    layer number: Int, rows: inout AlignedBuffer<Float>, progress: (_ work: Int) -> Void
  ) throws(MPIError) {
    let (layer, sizes) = (blocks.decoder.layers[number], blocks.decoder.sizes)
    let (engine, positions) = (engines[engineOfLayer[number]], parts.positions[number])
    let parts = queryParts
    if parts.count == 1 {
      var queries = Tensor<Float>(
        zeros: [1, parts[0].tokens.count, sizes.queryHeads, sizes.headDim])
      engine.pack { block, sinks in
        let first = packKept(layer: number, in: &block, sinks)
        var span = queries.mutableSpan
        blocks.project(
          rows.span, layer: layer, runs: Array(block.runs[first...]), positions: positions,
          queries: &span
        ) { pack($0, $1, run: first + $2, from: $3, layer: number, in: &block, sinks) }
      }
      return try attend(
        QueryShard(queries, runs: parts[0].runs), parts[0], layer: layer, engine, rows: &rows,
        progress: progress)
    }
    engine.pack { block, sinks in
      let first = packKept(layer: number, in: &block, sinks)
      blocks.projectKeys(
        rows.span, layer: layer, runs: Array(block.runs[first...]), positions: positions
      ) { pack($0, $1, run: first + $2, from: $3, layer: number, in: &block, sinks) }
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

  /// Copies what this rank keeps of what came before the piece.
  ///
  /// - Returns: the first of the block's runs that is of the piece.
  private func packKept(
    layer: Int, in block: inout KeyValueBlock, _ sinks: SinkRows?
  ) -> Int {
    let first = block.runs.firstIndex { $0.start >= start } ?? block.runs.count
    if let kept, first > 0 {
      kept.cache.copy(kept.sequence, layer: layer, to: &block, runs: 0..<first)
      sinks?.take(from: block, runs: 0..<first)
    }
    return first
  }

  /// Packs keys and values of a stretch of a run for attention, and keeps them.
  private func pack(
    _ keys: borrowing Span<Float>, _ values: borrowing Span<Float>, run: Int, from first: Int,
    layer: Int, in block: inout KeyValueBlock, _ sinks: SinkRows?
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

  /// Bytes that this rank has sent.
  var bytesSent: Int {
    engines.reduce(line?.traffic.bytesSent ?? 0) { $0 + $1.bytesSent }
  }

  /// Gives back what connects the ranks, called by all of them together.
  consuming func close() throws(MPIError) {
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
