import Attention
import MPI
import SequenceParallel
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

  /// A pass of the distributed operator with its inputs: rows are gathered, computed on, and merged at
  /// home as on any rank of a job.
  func prepared(
    _ pass: KernelPass, on world: borrowing Communicator
  ) throws -> any BenchPass {
    let tokens = Sharding(.contiguous, tokens: tokens, ranks: 1)
    let problem = ShardedAttention(
      shape: shape, queries: tokens, keys: tokens,
      pattern: DilatedPattern(
        branches: branches, queryHeads: shape.queryHeads, isCausal: pattern.isCausal))
    var options = DilatedAttention.Options()
    options.team = ThreadTeam(threads: threads)
    options.gradients = pass == .backward
    let attention = try DilatedAttention(problem, placement: .units, options: options, on: world)
    let queries = QueryShard(inputs.queries(), runs: tokens.shards[0])
    switch pass {
    case .forward:
      return DilatedForward(attention, queries, inputs.keys(), inputs.values())
    case .backward:
      return try DilatedBackward(
        attention, queries, inputs.keys(), inputs.values(), inputs.outputGradient())
    }
  }
}

private final class DilatedForward: BenchPass {
  private var attention: DilatedAttention
  private let queries: QueryShard
  private let keys: Tensor<Float>
  private let values: Tensor<Float>

  init(
    _ attention: consuming DilatedAttention, _ queries: consuming QueryShard,
    _ keys: consuming Tensor<Float>, _ values: consuming Tensor<Float>
  ) {
    self.attention = attention
    self.queries = queries
    self.keys = keys
    self.values = values
  }

  var pairs: Int { attention.pairs }

  func run() throws { _ = try attention.forward(queries, keys: keys, values: values) }
}

private final class DilatedBackward: BenchPass {
  private var attention: DilatedAttention
  private let queries: QueryShard
  private let keys: Tensor<Float>
  private let values: Tensor<Float>
  private let output: AttentionOutput
  private let outputGradient: Tensor<Float>

  init(
    _ attention: consuming DilatedAttention, _ queries: consuming QueryShard,
    _ keys: consuming Tensor<Float>, _ values: consuming Tensor<Float>,
    _ outputGradient: consuming Tensor<Float>
  ) throws {
    output = try attention.forward(queries, keys: keys, values: values)
    self.attention = attention
    self.queries = queries
    self.keys = keys
    self.values = values
    self.outputGradient = outputGradient
  }

  var pairs: Int { attention.pairs }

  func run() throws {
    _ = try attention.backward(
      queries, keys: keys, values: values, output: output, outputGradient: outputGradient)
  }
}
