import Attention
import MPI
import Sharding
import Tensors

/// Keys and values stay; blocks of queries pass by in one pass, and what is found out about them
/// follows them home: outputs not yet divided by their row sums, or gradients.
final class TravellingQueries: PassEngine {
  private let problem: ShardedAttention
  private let computation: BlockComputation
  private let team: ThreadTeam
  private let rank: Int
  private let stream: any BlockStream
  /// This rank's own packed keys and values.
  private let keys: Piece
  /// Where their gradients lie, in a backward pass.
  private var gradientMemory: Piece?
  private(set) var timing = Timing()

  /// - Parameters:
  ///   - stream: of blocks of the problem's queries, as they are in the pass that is to be run.
  ///   - keys: this rank's own packed keys and values.
  init(
    _ problem: ShardedAttention, stream: any BlockStream, keys: Piece, team: ThreadTeam, rank: Int
  ) {
    self.problem = problem
    self.stream = stream
    self.keys = keys
    self.team = team
    self.rank = rank
    computation = BlockComputation(
      shape: problem.shape, scale: problem.scale, pattern: problem.pattern,
      scoreRule: problem.scoreRule, accumulation: problem.accumulation,
      arithmetic: problem.arithmetic, team: team)
  }

  var traffic: Traffic { stream.traffic }

  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    let start = ContinuousClock.now
    let (shape, accumulation) = (problem.shape, problem.accumulation)
    let partialBytes = ForwardPartial.byteCount(
      tokens: 1, shape: shape, accumulation: accumulation)
    try stream.reserveResults(problem.queries.runSizes(bytesPerToken: partialBytes))
    load(queries)
    let prepared = ContinuousClock.now - start
    let block = problem.block(of: rank, at: keys)
    timing = try stream.run(results: problem.partialSums(team)) { visit, poll in
      let queries = problem.queryBlock(of: visit.owner, visit.runs, .forward, at: visit.block)
      var partial = problem.partial(of: visit.owner, visit.runs, at: visit.result)
      computation.attend(
        queries.value, to: block.value, addingTo: &partial.value, part: visit.part
      ) { scores in
        progress(scores)
        poll()
      }
    }
    let end = ContinuousClock.now
    let tokens = queries.tokens
    var o = JoinedTokens([shape.batch, tokens, shape.queryHeads, shape.valueHeadDim])
    var lse = JoinedTokens([shape.batch, shape.queryHeads, tokens], axis: 2)
    var lseRemainder = JoinedTokens([shape.batch, shape.queryHeads, tokens], axis: 2)
    forEachParcel { runs, tokens in
      var partial = problem.partial(
        of: rank, runs, at: stream.ownResult.tokens(tokens, bytesPerToken: partialBytes))
      let output = partial.value.output(team: team)
      o.put(output.o, at: tokens)
      lse.put(output.lse, at: tokens)
      lseRemainder.put(output.lseRemainder, at: tokens)
    }
    timing.computing += prepared + (ContinuousClock.now - end)
    return AttentionOutput(o: o.finish(), lse: lse.finish(), lseRemainder: lseRemainder.finish())
  }

  /// Calls `body` for each parcel of this rank's queries, with the indices of its tokens.
  private func forEachParcel(_ body: (_ runs: Range<Int>, _ tokens: Range<Int>) -> Void) {
    for runs in stream.ownParcels { body(runs, problem.queries.indices(of: rank, runs)) }
  }

  /// A parcel of this rank's queries, as it travels.
  private func ownBlock(
    _ runs: Range<Int>, _ tokens: Range<Int>, _ pass: AttentionPass
  ) -> Lent<QueryBlock> {
    let bytes = QueryBlock.byteCount(tokens: 1, shape: problem.shape, pass: pass)
    return problem.queryBlock(
      of: rank, runs, pass, at: stream.ownBlock.tokens(tokens, bytesPerToken: bytes))
  }

  /// Puts queries where they begin to travel, for the forward pass.
  private func load(_ queries: borrowing QueryShard) {
    for runs in stream.ownParcels {
      let tokens = problem.queries.indices(of: rank, runs)
      var own = ownBlock(runs, tokens, .forward)
      if tokens.count == queries.tokens {
        own.value.load(queries, team: team)
      } else {
        own.value.load(queries.copy(ofTokens: tokens, runs: own.value.runs), team: team)
      }
    }
  }

  /// Puts them there for the backward pass.
  private func load(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>
  ) {
    for runs in stream.ownParcels {
      let tokens = problem.queries.indices(of: rank, runs)
      var own = ownBlock(runs, tokens, .backward)
      if tokens.count == queries.tokens {
        own.value.load(
          queries, output: output, outputGradient: outputGradient, arithmetic: problem.arithmetic,
          team: team)
        continue
      }
      let some = AttentionOutput(
        o: output.o.copy(ofTokens: tokens), lse: output.lse.copy(ofTokens: tokens, axis: 2),
        lseRemainder: output.lseRemainder.copy(ofTokens: tokens, axis: 2))
      own.value.load(
        queries.copy(ofTokens: tokens, runs: own.value.runs), output: some,
        outputGradient: outputGradient.copy(ofTokens: tokens), arithmetic: problem.arithmetic,
        team: team)
    }
  }

  func queryGradients(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> Tensor<Float> {
    let start = ContinuousClock.now
    let (shape, accumulation) = (problem.shape, problem.accumulation)
    let gradientBytes = QueryGradient.byteCount(
      tokens: 1, shape: shape, accumulation: accumulation)
    try stream.reserveResults(problem.queries.runSizes(bytesPerToken: gradientBytes))
    load(queries, output: output, outputGradient: outputGradient)
    let block = problem.block(of: rank, at: keys)
    if gradientMemory == nil {
      let byteCount = KeyValueGradient.byteCount(
        keys: block.value.keyCount, shape: problem.shape, accumulation: problem.accumulation)
      gradientMemory = StreamMemory.pieces(sizes: [byteCount])[0]
    }
    var gradient = ownGradient
    gradient.value.clear(team: team)
    let prepared = ContinuousClock.now - start
    timing = try stream.run(results: problem.queryGradientSums(team)) { visit, poll in
      let queries = problem.queryBlock(of: visit.owner, visit.runs, .backward, at: visit.block)
      var dq = problem.queryGradient(of: visit.owner, visit.runs, at: visit.result)
      computation.addGradients(
        queries.value, and: block.value, to: &dq.value, and: &gradient.value, part: visit.part
      ) { scores in
        progress(scores)
        poll()
      }
    }
    timing.computing += prepared
    var dq = JoinedTokens([shape.batch, queries.tokens, shape.queryHeads, shape.headDim])
    forEachParcel { runs, tokens in
      var own = problem.queryGradient(
        of: rank, runs, at: stream.ownResult.tokens(tokens, bytesPerToken: gradientBytes))
      dq.put(own.value.dq(scale: problem.scale, team: team), at: tokens)
    }
    return dq.finish()
  }

  private var ownGradient: Lent<KeyValueGradient> {
    problem.gradient(keys: problem.keys.tokenCount(of: rank), at: gradientMemory ?? .nothing)
  }

  func ownGradients(_ body: (_ keys: Range<Int>, borrowing KeyValueGradient) -> Void) {
    let gradient = ownGradient
    body(0..<gradient.value.keyCount, gradient.value)
  }

  func close() throws(MPIError) { try stream.close() }
}

extension ShardedAttention {
  fileprivate func partialSums(_ team: ThreadTeam) -> ResultOperations {
    ResultOperations(
      clear: { owner, runs, memory in
        var partial = partial(of: owner, runs, at: memory)
        partial.value.clear(team: team)
      },
      add: { owner, runs, memory, other in
        var partial = partial(of: owner, runs, at: memory)
        partial.value.add(self.partial(of: owner, runs, at: other).value, team: team)
      })
  }

  fileprivate func queryGradientSums(_ team: ThreadTeam) -> ResultOperations {
    ResultOperations(
      clear: { owner, runs, memory in
        var gradient = queryGradient(of: owner, runs, at: memory)
        gradient.value.clear(team: team)
      },
      add: { owner, runs, memory, other in
        var gradient = queryGradient(of: owner, runs, at: memory)
        gradient.value.add(self.queryGradient(of: owner, runs, at: other).value, team: team)
      })
  }
}
