// Three steps of gradient descent through attention over a sequence that is sharded among ranks:
//
//     mpirun -n 3 .build/release/training-step
//
// Docs/Library.md goes through it line by line.

import Attention
import Foundation
import MPI
import SequenceParallel
import Sharding
import Tensors

let tokens = 1000
let shape = AttentionShape(batch: 1, queryHeads: 4, kvHeads: 2, headDim: 32, valueHeadDim: 32)
let learningRate: Float = 0.05

try withMPI { world in
  // Which rank holds which tokens; every rank computes the whole list for itself.
  let sharding = Sharding(.zigzag, tokens: tokens, ranks: world.size)
  let problem = ShardedAttention(
    shape: shape, queries: sharding, keys: sharding, pattern: CausalPattern())

  // This rank's own rows of q, k and v, and what o should become.
  let runs = sharding.shards[world.rank]
  var queries = try random(problem.queryShape, number: 0).read(shard: runs)
  var keys = try random(problem.keyShape, number: 1).read(shard: runs)
  var values = try random(problem.valueShape, number: 2).read(shard: runs)
  let target = wave(at: runs)

  var attention = try DistributedAttention(problem, route: .ring, on: world)
  for step in 1...3 {
    attention.pack(keys: keys, values: values)
    let shard = QueryShard(queries, runs: runs)
    let output = try attention.forward(shard)

    let outputGradient = gradientOfLoss(output.o, target)
    let loss = try world.allReduce(squaredDistance(output.o, target), with: .sum)
    if world.rank == 0 { print("step \(step): loss \(String(format: "%.4g", loss))") }

    let gradients = try attention.backward(shard, output: output, outputGradient: outputGradient)
    queries = shard.tensor
    descend(&queries, along: gradients.dq)
    descend(&keys, along: gradients.dk)
    descend(&values, along: gradients.dv)
  }
  try attention.close()
}

/// Normal numbers that depend on a row's global position, not on the rank that holds it.
func random(_ shape: Shape, number: UInt64) -> RandomRows {
  RandomRows(shape: shape, seed: 1, tensor: number)
}

/// Slow waves along the sequence, `[1, tokens of the runs, queryHeads, valueHeadDim]`.
func wave(at runs: [PositionRange]) -> Tensor<Float> {
  let positions = runs.flatMap { Array($0) }
  let columns = shape.queryHeads * shape.valueHeadDim
  var tensor = Tensor<Float>(
    zeros: [shape.batch, positions.count, shape.queryHeads, shape.valueHeadDim])
  var elements = tensor.mutableSpan
  for (row, position) in positions.enumerated() {
    for column in 0..<columns {
      elements[row * columns + column] = Float(sin(0.003 * Double(position) + Double(column)))
    }
  }
  return tensor
}

/// `Σ (o − target)²` of this rank's rows.
func squaredDistance(_ o: borrowing Tensor<Float>, _ target: borrowing Tensor<Float>) -> Double {
  var sum = 0.0
  for index in 0..<o.count {
    let difference = Double(o.span[index]) - Double(target.span[index])
    sum += difference * difference
  }
  return sum
}

/// `do = 2 (o − target)`.
func gradientOfLoss(
  _ o: borrowing Tensor<Float>, _ target: borrowing Tensor<Float>
) -> Tensor<Float> {
  var gradient = Tensor<Float>(zeros: o.shape)
  var elements = gradient.mutableSpan
  for index in elements.indices { elements[index] = 2 * (o.span[index] - target.span[index]) }
  return gradient
}

/// One step of gradient descent.
func descend(_ parameter: inout Tensor<Float>, along gradient: borrowing Tensor<Float>) {
  var elements = parameter.mutableSpan
  for index in elements.indices { elements[index] -= learningRate * gradient.span[index] }
}
