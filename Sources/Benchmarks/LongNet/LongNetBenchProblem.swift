import Attention
import LongNet
import MPI
import Sharding
import Tensors

/// A problem of dilated attention on one rank and random inputs.
struct LongNetBenchProblem {
  let shape: AttentionShape
  let tokens: Int
  let branches: [DilatedBranch]
  let pattern: PatternChoice
  let threads: Int

  private var inputs: BenchInputs { BenchInputs(shape: shape, tokens: tokens, queryTokens: tokens) }

  /// A pass of the distributed operator with its inputs: rows are gathered, computed on, and merged
  /// at home as on any rank of a job.
  func prepared(
    _ pass: KernelPass, on world: borrowing Communicator
  ) throws -> any BenchPass {
    let sharding = Sharding(.contiguous, tokens: tokens, ranks: 1)
    let problem = try ShardedDilatedAttention(
      shape: shape, sharding: sharding, branches: branches, isCausal: pattern.isCausal)
    var options = DilatedAttention.Options()
    options.team = ThreadTeam(threads: threads)
    options.gradients = pass == .backward
    var attention = try DilatedAttention(problem, placement: .units, options: options, on: world)
    attention.pack(keys: inputs.keys(), values: inputs.values())
    let queries = QueryShard(inputs.queries(), runs: sharding.shards[0])
    switch pass {
    case .forward: return DilatedForward(attention, queries)
    case .backward: return try DilatedBackward(attention, queries, inputs.outputGradient())
    }
  }
}

private final class DilatedForward: BenchPass {
  private var attention: DilatedAttention
  private let queries: QueryShard

  init(_ attention: consuming DilatedAttention, _ queries: consuming QueryShard) {
    self.attention = attention
    self.queries = queries
  }

  var pairs: Int { attention.pairs }

  func run() throws { _ = try attention.forward(queries) }
}

private final class DilatedBackward: BenchPass {
  private var attention: DilatedAttention
  private let queries: QueryShard
  private let output: AttentionOutput
  private let outputGradient: Tensor<Float>

  init(
    _ attention: consuming DilatedAttention, _ queries: consuming QueryShard,
    _ outputGradient: consuming Tensor<Float>
  ) throws {
    output = try attention.forward(queries)
    self.attention = attention
    self.queries = queries
    self.outputGradient = outputGradient
  }

  var pairs: Int { attention.pairs }

  func run() throws {
    _ = try attention.backward(queries, output: output, outputGradient: outputGradient)
  }
}
