import Attention
import MPI
import Sharding
import Tensors

/// Keys and values stay; blocks of queries pass by in one pass, and what is found out about them
/// follows them home: outputs not yet divided by their row sums, or gradients.
final class TravellingQueries: PassEngine {
  private let problem: ShardedAttention
  private let computation: BlockComputation
  private let rank: Int
  private let stream: any BlockStream
  private let keys: OwnKeys
  /// That of the keys, in a backward pass.
  private var gradientMemory = AlignedBuffer<UInt8>(zeros: 0)
  private(set) var timing = Timing()

  /// - Parameters:
  ///   - stream: of blocks of the problem's queries, as they are in the pass that is to be run.
  ///   - keys: this rank's own.
  init(
    _ problem: ShardedAttention, stream: any BlockStream, keys: OwnKeys, team: ThreadTeam,
    rank: Int
  ) {
    self.problem = problem
    self.stream = stream
    self.keys = keys
    self.rank = rank
    computation = BlockComputation(
      shape: problem.shape, scale: problem.scale, pattern: problem.pattern,
      accumulation: problem.accumulation, team: team)
  }

  var traffic: Traffic { stream.traffic }

  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    let start = ContinuousClock.now
    try stream.reserveResults(
      problem.queries.tokenCounts.map {
        ForwardPartial.byteCount(
          tokens: $0, shape: problem.shape, accumulation: problem.accumulation)
      })
    var own = unsafe problem.queryBlock(of: rank, .forward, at: stream.ownBlock)
    own.load(queries)
    let prepared = ContinuousClock.now - start
    let block = unsafe problem.block(of: rank, at: keys.bytes)
    timing = try stream.run(results: problem.partialSums) { visit, poll in
      let queries = unsafe problem.queryBlock(of: visit.owner, .forward, at: visit.block)
      var partial = unsafe problem.partial(of: visit.owner, at: visit.result)
      computation.attend(queries, to: block, addingTo: &partial, part: visit.part) { scores in
        progress(scores)
        poll()
      }
    }
    let end = ContinuousClock.now
    let output = unsafe problem.partial(of: rank, at: stream.ownResult).output()
    timing.computing += prepared + (ContinuousClock.now - end)
    return output
  }

  func queryGradients(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> Tensor<Float> {
    let start = ContinuousClock.now
    try stream.reserveResults(
      problem.queries.tokenCounts.map {
        QueryGradient.byteCount(
          tokens: $0, shape: problem.shape, accumulation: problem.accumulation)
      })
    var own = unsafe problem.queryBlock(of: rank, .backward, at: stream.ownBlock)
    own.load(queries, output: output, outputGradient: outputGradient)
    let block = unsafe problem.block(of: rank, at: keys.bytes)
    if gradientMemory.count == 0 {
      gradientMemory = AlignedBuffer(
        zeros: KeyValueGradient.byteCount(
          keys: block.keyCount, shape: problem.shape, accumulation: problem.accumulation))
    }
    var gradient = ownGradient()
    gradient.clear()
    let prepared = ContinuousClock.now - start
    timing = try stream.run(results: problem.queryGradientSums) { visit, poll in
      let queries = unsafe problem.queryBlock(of: visit.owner, .backward, at: visit.block)
      var dq = unsafe problem.queryGradient(of: visit.owner, at: visit.result)
      computation.addGradients(
        queries, and: block, to: &dq, and: &gradient, part: visit.part
      ) { scores in
        progress(scores)
        poll()
      }
    }
    timing.computing += prepared
    return unsafe problem.queryGradient(of: rank, at: stream.ownResult).dq(scale: problem.scale)
  }

  func ownGradient() -> KeyValueGradient {
    unsafe problem.gradient(of: rank, at: gradientMemory.unsafeMutableBytes)
  }

  func close() throws(MPIError) { try stream.close() }
}

/// Queries and what is found out about them as they lie in the memory of a stream, which outlives
/// them.
extension ShardedAttention {
  @unsafe
  fileprivate func queryBlock(
    of owner: Int, _ pass: AttentionPass, at memory: UnsafeMutableRawBufferPointer
  ) -> QueryBlock {
    unsafe QueryBlock(shape: shape, runs: queries.shards[owner], pass: pass, memory: memory)
  }

  @unsafe
  fileprivate func partial(
    of owner: Int, at memory: UnsafeMutableRawBufferPointer
  ) -> ForwardPartial {
    unsafe ForwardPartial(
      shape: shape, tokens: queries.tokenCount(of: owner), memory: memory,
      accumulation: accumulation)
  }

  @unsafe
  fileprivate func queryGradient(
    of owner: Int, at memory: UnsafeMutableRawBufferPointer
  ) -> QueryGradient {
    unsafe QueryGradient(
      shape: shape, tokens: queries.tokenCount(of: owner), memory: memory,
      accumulation: accumulation)
  }

  fileprivate var partialSums: ResultOperations {
    unsafe ResultOperations(
      clear: { owner, memory in
        var partial = unsafe partial(of: owner, at: memory)
        partial.clear()
      },
      add: { owner, memory, other in
        var partial = unsafe partial(of: owner, at: memory)
        unsafe partial.add(self.partial(of: owner, at: other))
      })
  }

  fileprivate var queryGradientSums: ResultOperations {
    unsafe ResultOperations(
      clear: { owner, memory in
        var gradient = unsafe queryGradient(of: owner, at: memory)
        gradient.clear()
      },
      add: { owner, memory, other in
        var gradient = unsafe queryGradient(of: owner, at: memory)
        unsafe gradient.add(self.queryGradient(of: owner, at: other))
      })
  }
}
