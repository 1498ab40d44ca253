// Attention with linear biases (ALiBi), by a score rule of one's own:
//
//     mpirun --oversubscribe -n 3 .build/release/linear-bias
//
// Docs/Extend-ScoreRule.md goes through it.

import Attention
import AttentionReference
import MPI
import SequenceParallel
import Sharding
import Tensors

/// `f(s) = s − m_h (i − j)`, `f′(s) = 1`, with slopes `m_h = 2^(−8 (h + 1) / heads)`.
///
/// Source: Press, Smith and Lewis 2022, Train Short, Test Long, section 3.
struct LinearBias: ScoreRule {
  /// Of each query head.
  let slopes: [Float]

  func change(
    _ scores: Vector, at place: ScorePlace
  ) -> (score: Vector, slope: Vector) {
    (scores - place.distances * slopes[place.head], Vector(repeating: 1))
  }
}

/// The same in `Double`, for the check: it shares no code with the rule.
struct ReferenceLinearBias: ReferenceScoreRule {
  let heads: Int

  func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    var slope = 1.0
    for _ in 0...head { slope *= 1 / Double(1 << (8 / heads)) }
    return s - slope * Double(query - key)
  }

  func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double { 1 }
}

let tokens = 1500
let heads = 4
let rule = LinearBias(slopes: [0.25, 0.0625, 0.015625, 0.00390625])
let shape = AttentionShape(
  batch: 1, queryHeads: heads, kvHeads: 2, headDim: 32, valueHeadDim: 32)

try withMPI { world in
  let sharding = Sharding(.zigzag, tokens: tokens, ranks: world.size)
  let problem = ShardedAttention(
    shape: shape, queries: sharding, keys: sharding, pattern: CausalPattern(), scoreRule: rule)
  let runs = sharding.shards[world.rank]
  // Normal numbers that depend on a row's global position, not on the rank that holds it.
  let (q, k) = (random(problem.queryShape, 0), random(problem.keyShape, 1))
  let (v, outputGradient) = (random(problem.valueShape, 2), random(problem.outputShape, 3))

  var attention = try DistributedAttention(problem, route: .ring, on: world)
  attention.pack(keys: try k.read(shard: runs), values: try v.read(shard: runs))
  let queries = QueryShard(try q.read(shard: runs), runs: runs)
  let output = try attention.forward(queries)
  let gradients = try attention.backward(
    queries, output: output, outputGradient: outputGradient.read(shard: runs))

  // Some rows and gradients of all ranks, computed again from the definition.
  let twin = ReferenceLinearBias(heads: heads)
  let mask = { @Sendable (query: Int, key: Int, _: Int) in key <= query ? 0 : -Double.infinity }
  let found = try SampledCheck(of: problem, scoreRule: twin, bias: mask)
    .run(output, q: q, k: k, v: v, on: world)
  let foundInGradients = try SampledGradientCheck(of: problem, scoreRule: twin, bias: mask)
    .run(gradients, output, q: q, k: k, v: v, outputGradient: outputGradient, on: world)
  if world.rank == 0 {
    print("\(found.rows) rows: \(found.holds ? "as exact as they should be" : "wrong")")
    print(
      "\(foundInGradients.rows) gradients: "
        + "\(foundInGradients.holds ? "as exact as they should be" : "wrong")")
  }
  try attention.close()
}

func random(_ shape: Shape, _ number: UInt64) -> RandomRows {
  RandomRows(shape: shape, seed: 1, tensor: number)
}
