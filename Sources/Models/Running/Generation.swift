import Attention
public import MPI
import Mixers
import SequenceParallel
import Sharding
import Tensors

/// A sequence that grows: keys and values stay where they are, each rank has the queries of what is
/// new, and partial results are merged.
///
/// Of a few new tokens each rank computes all products, or some columns of all. Many, like the next
/// message of a conversation, are divided among the ranks as a prompt is. Sequences that ``fork()``
/// from one prompt can grow together.
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
    try Self.takeLogits([last], of: [self])
  }

  /// A sequence that begins as another does.
  private init(forking other: Generation) {
    (parts, prefill, alone) = (other.parts, other.prefill, other.alone)
    sequence = parts.cache.fork(other.sequence)
    (states, statesOfPrompt) = (other.states, other.statesOfPrompt)
    (tokens, logits) = (other.tokens, other.logits)
    parts.begin()
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
  public func release() {
    parts.cache.release(sequence)
    parts.end()
  }

  /// Bytes of this rank's keys and values, of all sequences that share a prompt, or of states, at
  /// most so far.
  public var cacheBytes: Int {
    parts.cache.byteCount + parts.decoder.stateBytes * parts.mostSequences
  }

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
    if world.size > 1, parts.options.dividesFollowUps,
      new.count >= Self.leastShare * world.size
    {
      return try extendTogether(by: new, on: world)
    }
    // As many at a time as there is room for.
    let chunk = parts.options.chunk
    for first in stride(from: 0, to: new.count, by: chunk) {
      let part = Array(new[first..<min(first + chunk, new.count)])
      let last = try Self.extendRows(of: [self], by: [part], text: new.count)
      if first + part.count == new.count { try Self.takeLogits(last, of: [self]) }
    }
  }

  /// Adds a token to each of several sequences that fork from one, called by all ranks together.
  ///
  /// Weights are read once for all of them, and so are pages that all of them share. Products of 2
  /// to 31 rows are sums of another order than those of one, and those of more of a third.
  ///
  /// - Parameters:
  ///   - all: at least one; where layers carry states, as long as each other.
  ///   - tokens: one for each.
  public static func extend(_ all: [Generation], by tokens: [Int]) throws(MPIError) {
    let parts = all[0].parts
    precondition(
      all.allSatisfy { $0.parts === parts } && tokens.count == all.count, "sequences of one prompt")
    let chunk = parts.options.chunk
    for first in stride(from: 0, to: all.count, by: chunk) {
      let range = first..<min(first + chunk, all.count)
      let rows = try extendRows(of: Array(all[range]), by: tokens[range].map { [$0] }, text: 1)
      try takeLogits(rows, of: Array(all[range]))
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
        all[range], of: all.count - start, dividedAs: sharding, keeping: kept, states: &states,
        on: world
      ) { _ in }
      if range.upperBound == all.count {
        let (owner, index) = sharding.owner(of: all.count - 1)
        if world.rank == owner { last = rows.span.row(index, width: width) }
        try world.broadcast(&last, from: owner)
      }
    }
    tokens = all
    try Self.takeLogits([last], of: [self])
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

  /// Adds at most a chunk of tokens to some sequences, each its own.
  ///
  /// - Parameter text: tokens of a sequence that follow at once, of which these may be a part.
  /// - Returns: the row of the last of each, `[width]`.
  private static func extendRows(
    of all: [Generation], by new: [[Int]], text: Int
  ) throws(MPIError) -> [[Float]] {
    if let alone = all[0].alone { return try carryRows(of: all, by: new, text: text, alone) }
    let parts = all[0].parts
    let (decoder, blocks, cache) = (parts.decoder, parts.blocks.reading(text), parts.cache)
    let (sizes, sequences) = (decoder.sizes, all.map(\.sequence))
    let runs = zip(all, new).map { PositionRange(start: $0.tokens.count, count: $1.count) }
    for (sequence, run) in zip(sequences, runs) {
      cache.release(parts.options.hidden(decoder, before: run.start), of: sequence)
      cache.append(run.count, to: sequence)
    }
    let growing = GrowingSequences(sequences, runs: runs, in: cache)
    let count = new.reduce(0) { $0 + $1.count }
    var rows = AlignedBuffer<Float>(zeros: count * sizes.width)
    var span = rows.mutableSpan
    blocks.embed(new.flatMap { $0 }, positions: runs, into: &span)
    for (number, layer) in decoder.layers.enumerated() {
      var queries = Tensor<Float>(zeros: [1, count, sizes.queryHeads, sizes.headDim])
      var span = queries.mutableSpan
      blocks.project(
        rows.span, layer: layer, runs: runs, positions: parts.positions[number], queries: &span
      ) { keys, values, run, first in
        let end = first + keys.count / sizes.keyWidth
        cache.write(
          keys: keys, values: values, layer: number, of: sequences[run],
          at: runs[run].slice(first..<end))
      }
      let outputs = try parts.attend(
        QueryShard(queries, runs: runs), layer: number, of: growing)
      var rowSpan = rows.mutableSpan
      blocks.finish(outputs.span, layer: layer, rows: &rowSpan)
    }
    if let failure = blocks.failure { throw failure }
    for (generation, tokens) in zip(all, new) { generation.tokens += tokens }
    return all.indices.map { index in
      rows.span.row(growing.firstToken(of: index + 1) - 1, width: sizes.width)
    }
  }

  /// The same where layers carry states: every rank has them and computes all.
  private static func carryRows(
    of all: [Generation], by new: [[Int]], text: Int, _ alone: MPIWire
  ) throws(MPIError) -> [[Float]] {
    let parts = all[0].parts
    let (decoder, blocks) = (parts.decoder, parts.blocks.reading(text))
    let (first, width) = (all[0].states.tokens, decoder.sizes.width)
    let added = zip(all, new).map { Array($0.tokens[$0.states.tokens...] + $1) }
    let count = added[0].count
    precondition(
      all.allSatisfy { $0.states.tokens == first } && added.allSatisfy { $0.count == count },
      "sequences as long as each other")
    let line = RankLine(
      alone, sharding: Sharding(.contiguous, tokens: count, ranks: 1), team: parts.options.team)
    var rows = AlignedBuffer<Float>(zeros: all.count * count * width)
    var span = rows.mutableSpan
    blocks.embed(
      added.flatMap { $0 },
      positions: all.map { _ in PositionRange(start: first, count: count) }, into: &span)
    var after = all.map { _ in [MixerTensors]() }
    for (number, layer) in decoder.stateLayers.enumerated() {
      let state = try layer.run(
        &span, of: all.count, from: MixerTensors(joining: all.map { $0.states[number] }), blocks,
        on: line)
      for (index, part) in state.parts(all.count).enumerated() { after[index].append(part) }
    }
    if let failure = blocks.failure { throw failure }
    for (index, generation) in all.enumerated() {
      generation.tokens += new[index]
      generation.states = LayerStates(after[index], tokens: generation.tokens.count)
    }
    return all.indices.map { rows.span.row(($0 + 1) * count - 1, width: width) }
  }

  /// Takes the logits after some rows, one of each sequence.
  private static func takeLogits(_ rows: [[Float]], of all: [Generation]) throws(MPIError) {
    let parts = all[0].parts
    let count = parts.decoder.sizes.vocabulary
    var logits = [Float](repeating: 0, count: rows.count * count)
    var span = logits.mutableSpan
    parts.blocks.logits(Array(rows.joined()).span, into: &span)
    if let failure = parts.blocks.failure { throw failure }
    if all.count == 1 {
      all[0].logits = logits
    } else {
      for (index, generation) in all.enumerated() {
        generation.logits = Array(logits[index * count..<(index + 1) * count])
      }
    }
  }
}

extension Span<Float> {
  /// One of several rows.
  fileprivate func row(_ index: Int, width: Int) -> [Float] {
    (index * width..<(index + 1) * width).map { self[$0] }
  }
}
