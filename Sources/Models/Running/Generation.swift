import Attention
public import MPI
import Mixers
import SequenceParallel
import Sharding
import Tensors

/// A sequence that grows: keys and values stay where they are, each rank has the queries of what is
/// new, and partial results are merged.
///
/// Of a few new tokens each rank computes all products; of the output's matrix each takes a part of
/// the vocabulary. Many, like the next message of a conversation, are divided among the ranks as a
/// prompt is.
///
/// Under a window pages that no token will see again are used for new ones: memory stays as it is,
/// however long the sequence becomes.
public final class Generation {
  private let parts: DecodingParts
  private let prefill: Prefill
  private var sequence: PageTable.Sequence
  /// After ``tokens``, on every rank, where layers carry states.
  private var states = LayerStates()
  /// Those after the prompt, to which tokens can be taken back.
  private var statesOfPrompt = LayerStates()
  /// This rank alone, for layers that carry states; nil without.
  private let alone: MPIWire?
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
    on world: borrowing Communicator, progress: (_ work: Int) -> Void = { _ in }
  ) throws {
    precondition(!prompt.isEmpty, "a prompt has a token")
    let sizes = decoder.sizes
    let prefill = try Prefill(
      decoder, tokens: prompt.count, context: context, options: options, on: world)
    let cache = PagedCache(decoder, options, rank: world.rank, ranks: world.size)
    let kept = KeptSequence(cache: cache, sequence: cache.create())
    var last = [Float](repeating: 0, count: sizes.width)
    let rank = world.rank
    let states = try prefill.run(prompt, keeping: kept, on: world, progress: progress) {
      rows, sharding in
      let (owner, index) = sharding.owner(of: sharding.tokens - 1)
      if rank == owner { last = rows.row(index, width: sizes.width) }
      if sharding.tokens == prompt.count { try world.broadcast(&last, from: owner) }
    }
    if decoder.carriesState, let own = try world.split(color: world.rank) {
      alone = MPIWire(own)
    } else {
      alone = nil
    }
    (self.states, statesOfPrompt) = (states, states)
    let division =
      world.size > 1 && options.dividesWeights ? try WeightDivision(of: world) : nil
    parts = try DecodingParts(
      prefill.parts, cache: cache, division: division, on: world)
    self.prefill = prefill
    sequence = kept.sequence
    tokens = prompt
    logits = try logits(last)
  }

  /// A sequence that begins as another does.
  private init(forking other: Generation) {
    (parts, prefill, alone) = (other.parts, other.prefill, other.alone)
    sequence = parts.cache.fork(other.sequence)
    (states, statesOfPrompt) = (other.states, other.statesOfPrompt)
    (tokens, logits) = (other.tokens, other.logits)
  }

  /// A sequence that begins as this one does, called by all ranks together.
  ///
  /// Both share the pages of what they have in common; a page that is not full is copied when
  /// tokens are added. ``RunOptions/forks`` makes room for that.
  ///
  /// - Complexity: O(pages), and O(`tokens`) integers.
  public func fork() -> Generation { Generation(forking: self) }

  /// Gives the pages back that no other sequence has, called by all ranks together; it cannot be
  /// used any more.
  public func release() { parts.cache.release(sequence) }

  /// Bytes of this rank's keys and values, of all sequences that share a prompt, or of states.
  public var cacheBytes: Int { parts.cache.byteCount + parts.decoder.stateBytes }

  /// The fewest tokens of each rank for which new tokens are divided among ranks: fewer take as
  /// long, since weights are read for all of them once, and leave pages of the cache empty.
  static var leastShare: Int { 64 }

  /// Bytes that this rank has sent while all ranks read tokens together, and of partial results of
  /// attention for tokens that each of them computes.
  public var bytesSent: (reading: Int, merging: Int) { (prefill.bytesSent, parts.bytesSent) }

  /// Adds tokens to the sequence, called by all ranks together.
  ///
  /// - Parameter new: at least one token.
  /// - Throws: `MPIError`, and `RouteError` if the route cannot serve the ranks.
  public func extend(by new: [Int], on world: borrowing Communicator) throws {
    if world.size > 1, parts.options.contextWindows == nil,
      new.count >= Self.leastShare * world.size
    {
      return try extendTogether(by: new, on: world)
    }
    // As many at a time as there is room for.
    let chunk = parts.options.chunk
    for first in stride(from: 0, to: new.count, by: chunk) {
      let part = Array(new[first..<min(first + chunk, new.count)])
      let last = try extendRows(by: part)
      if first + part.count == new.count { logits = try logits(last) }
    }
  }

  /// Adds tokens that are divided among the ranks, piece by piece.
  private func extendTogether(by new: [Int], on world: borrowing Communicator) throws {
    // Of states that were taken back, tokens come again that are there.
    let start = parts.decoder.carriesState ? states.tokens : tokens.count
    let (all, width) = (tokens + new, parts.decoder.sizes.width)
    let kept = KeptSequence(cache: parts.cache, sequence: sequence)
    let plan = PiecePlan(
      parts.decoder, parts.options.ofFollowUp(ranks: world.size), tokens: all.count,
      ranks: world.size)
    var last = [Float](repeating: 0, count: width)
    for first in stride(from: start, to: all.count, by: plan.length) {
      let range = first..<min(first + plan.length, all.count)
      let sharding = plan.sharding(of: range)
      let rows = try prefill.read(
        all[range], dividedAs: sharding, keeping: kept, states: &states, on: world
      ) { _ in }
      if range.upperBound == all.count {
        let (owner, index) = sharding.owner(of: all.count - 1)
        if world.rank == owner { last = rows.span.row(index, width: width) }
        try world.broadcast(&last, from: owner)
      }
    }
    tokens = all
    logits = try logits(last)
  }

  /// Takes tokens back, so that others can follow those that are left; what it knows of the next
  /// token is old until some do.
  ///
  /// Their places are written again. Under a window what has left it does not come back. States
  /// are those after the prompt, or of nothing, until tokens follow; those that are left are then
  /// computed again first.
  ///
  /// - Parameter count: tokens that are left.
  public func rewind(to count: Int) {
    precondition((1...tokens.count).contains(count), "no \(count) tokens")
    if parts.decoder.carriesState {
      if count < states.tokens {
        states = count < statesOfPrompt.tokens ? LayerStates() : statesOfPrompt
      }
      return tokens.removeLast(tokens.count - count)
    }
    let shorter = parts.cache.fork(sequence, tokens: count)
    parts.cache.release(sequence)
    sequence = shorter
    tokens.removeLast(tokens.count - count)
  }

  /// Adds at most a chunk of tokens.
  ///
  /// - Returns: the row of the last, `[width]`.
  private func extendRows(by new: [Int]) throws(MPIError) -> [Float] {
    if let alone { return try carryRows(by: new, alone) }
    let (decoder, blocks, cache) = (parts.decoder, parts.blocks, parts.cache)
    let (sizes, count) = (decoder.sizes, new.count)
    let run = PositionRange(start: tokens.count, count: count)
    cache.release(parts.options.hidden(decoder, before: tokens.count), of: sequence)
    cache.append(count, to: sequence)
    var rows = AlignedBuffer<Float>(zeros: count * sizes.width)
    var all = rows.mutableSpan
    blocks.embed(new, positions: [run], into: &all)
    for (number, layer) in decoder.layers.enumerated() {
      var queries = Tensor<Float>(zeros: [1, count, sizes.queryHeads, sizes.headDim])
      var span = queries.mutableSpan
      blocks.project(
        rows.span, layer: layer, runs: [run], positions: parts.positions[number], queries: &span
      ) { keys, values, _, first in
        let end = first + keys.count / sizes.keyWidth
        cache.write(
          keys: keys, values: values, layer: number, of: sequence, at: run.slice(first..<end))
      }
      let outputs = try parts.attend(
        QueryShard(queries, runs: [run]), layer: number, of: sequence)
      var rowSpan = rows.mutableSpan
      blocks.finish(outputs.span, layer: layer, rows: &rowSpan)
    }
    if let failure = blocks.failure { throw failure }
    tokens += new
    let last = rows.span.extracting((count - 1) * sizes.width..<count * sizes.width)
    return last.indices.map { last[$0] }
  }

  /// The same where layers carry states: every rank has them and computes all.
  private func carryRows(by new: [Int], _ alone: MPIWire) throws(MPIError) -> [Float] {
    let (decoder, blocks) = (parts.decoder, parts.blocks)
    let (first, width) = (states.tokens, decoder.sizes.width)
    let all = tokens[first...] + new
    let line = RankLine(
      alone, sharding: Sharding(.contiguous, tokens: all.count, ranks: 1),
      team: parts.options.team)
    var rows = AlignedBuffer<Float>(zeros: all.count * width)
    var span = rows.mutableSpan
    blocks.embed(
      Array(all), positions: [PositionRange(start: first, count: all.count)], into: &span)
    var after: [MixerTensors] = []
    for (number, layer) in decoder.stateLayers.enumerated() {
      after.append(try layer.run(&span, from: states[number], blocks, on: line))
    }
    if let failure = blocks.failure { throw failure }
    tokens += new
    states = LayerStates(after, tokens: tokens.count)
    return (span.count - width..<span.count).map { span[$0] }
  }

  /// The logits of a row.
  private func logits(_ row: [Float]) throws(MPIError) -> [Float] {
    var logits = [Float](repeating: 0, count: parts.decoder.sizes.vocabulary)
    var span = logits.mutableSpan
    parts.blocks.logits(row.span, into: &span)
    if let failure = parts.blocks.failure { throw failure }
    return logits
  }
}

extension Span<Float> {
  /// One of several rows.
  fileprivate func row(_ index: Int, width: Int) -> [Float] {
    (index * width..<(index + 1) * width).map { self[$0] }
  }
}
