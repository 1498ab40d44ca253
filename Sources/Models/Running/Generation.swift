import Attention
public import MPI
import Mixers
import SequenceParallel
import Sharding
import Tensors

/// A sequence that grows: keys and values stay where they are, each rank has the queries of what is
/// new, and partial results are merged.
///
/// A rank computes all products of the new tokens, of which there are few, and has all of its
/// threads do so; of the output's matrix each rank takes a part of the vocabulary.
///
/// Under a window pages that no token will see again are used for new ones: memory stays as it is,
/// however long the sequence becomes.
public final class Generation {
  private let parts: DecodingParts
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
    let sharding = prefill.sharding
    let cache = PagedCache(
      shape: decoder.attentionShape, layers: decoder.layers.count, type: options.cacheType,
      pageTokens: options.pageTokens, ranks: world.size, rank: world.rank, team: options.team)
    let sequence =
      decoder.carriesState
      ? cache.create()
      : cache.create(prompt: sharding, hiding: options.hidden(decoder, before: prompt.count))
    var states = LayerStates()
    let rows = try prefill.run(
      prompt, keeping: (cache, sequence), states: { states = $0 }, progress: progress)
    let (owner, index) = sharding.owner(of: prompt.count - 1)
    var last = [Float](repeating: 0, count: sizes.width)
    if world.rank == owner {
      for column in 0..<sizes.width { last[column] = rows[index * sizes.width + column] }
    }
    try world.broadcast(&last, from: owner)
    try states.share(from: owner, on: world)
    try prefill.close()
    if decoder.carriesState, let own = try world.split(color: world.rank) {
      alone = MPIWire(own)
    } else {
      alone = nil
    }
    (self.states, statesOfPrompt) = (states, states)
    let division =
      world.size > 1 && options.dividesWeights ? try WeightDivision(of: world) : nil
    parts = try DecodingParts(
      decoder, options: options, context: context, cache: cache, division: division)
    self.sequence = sequence
    tokens = prompt
    logits = try logits(last)
  }

  /// A sequence that begins as another does.
  private init(forking other: Generation) {
    (parts, alone) = (other.parts, other.alone)
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

  /// Adds tokens to the sequence, called by all ranks together.
  ///
  /// - Parameter new: at least one token.
  public func extend(
    by new: [Int], on world: borrowing Communicator
  ) throws(MPIError) {
    // As many at a time as there is room for.
    let chunk = parts.options.chunk
    for first in stride(from: 0, to: new.count, by: chunk) {
      let part = Array(new[first..<min(first + chunk, new.count)])
      let last = try extendRows(by: part, on: world)
      if first + part.count == new.count { logits = try logits(last) }
    }
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
  private func extendRows(
    by new: [Int], on world: borrowing Communicator
  ) throws(MPIError) -> [Float] {
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
        QueryShard(queries, runs: [run]), layer: number, of: sequence, on: world)
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
