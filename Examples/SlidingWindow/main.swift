// Attention in which a query sees the last few keys only, by a mask of one's own:
//
//     mpirun --oversubscribe -n 3 .build/release/sliding-window
//
// Docs/Extend-Pattern.md goes through it.

import Attention
import Foundation
import MPI
import SequenceParallel
import Sharding
import Tensors

/// A query sees itself and the `width − 1` keys before it.
struct SlidingWindow: AttentionPattern {
  let width: Int

  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    guard let firstKey = keys.first, let lastKey = keys.last, let firstQuery = queries.first,
      let lastQuery = queries.last
    else { return .none }
    if firstKey > lastQuery || lastKey <= firstQuery - width { return .none }
    return lastKey <= firstQuery && firstKey > lastQuery - width ? .all : .some
  }

  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    for (row, query) in queries.enumerated() {
      for (column, key) in keys.enumerated() {
        let isSeen = key <= query && key > query - width
        bias[row * keys.count + column] = isSeen ? 0 : -.infinity
      }
    }
  }
}

let tokens = 3000
let window = SlidingWindow(width: 100)
let shape = AttentionShape(batch: 1, queryHeads: 2, kvHeads: 1, headDim: 32, valueHeadDim: 32)

try withMPI { world in
  // Neighbours see each other's tokens only where runs are contiguous.
  let sharding = Sharding(.contiguous, tokens: tokens, ranks: world.size)
  let problem = ShardedAttention(
    shape: shape, queries: sharding, keys: sharding, pattern: window)
  let runs = sharding.shards[world.rank]
  let queries = try random(problem.queryShape, number: 0).read(shard: runs)
  let keys = try random(problem.keyShape, number: 1).read(shard: runs)
  let values = try random(problem.valueShape, number: 2).read(shard: runs)

  var attention = try DistributedAttention(problem, route: .ring, on: world)
  attention.pack(keys: keys, values: values)
  let output = try attention.forward(QueryShard(queries, runs: runs))
  let error = try largestError(output.o, problem, runs)

  // What each rank has found goes to rank 0, in a buffer that a transfer owns while it is under
  // way.
  var found = MessageBuffer(repeating: 0.0, count: 2)
  var numbers = found.mutableSpan
  numbers[0] = error
  numbers[1] = Double(attention.traffic.bytesSent)
  if world.rank > 0 {
    found = try world.send(found, to: 0, tag: 0).wait()
  } else {
    var (worst, sent) = (found.span[0], found.span[1])
    for rank in 0..<world.size where rank > 0 {
      found = try world.receive(into: found, from: rank, tag: 0).wait()
      worst = max(worst, found.span[0])
      sent += found.span[1]
    }
    let all = PositionRange(0..<tokens)
    print("\(window.visiblePairs(keys: all, queries: all)) pairs a head, \(Int(sent)) bytes sent")
    print("largest error \(worst < 1e-5 ? "below" : "above") 1e-5")
  }
  try attention.close()
}

/// Normal numbers that depend on a row's global position, not on the rank that holds it.
func random(_ shape: Shape, number: UInt64) -> RandomRows {
  RandomRows(shape: shape, seed: 1, tensor: number)
}

/// The largest difference of this rank's rows to softmax written down as it is defined.
func largestError(
  _ o: borrowing Tensor<Float>, _ problem: ShardedAttention, _ runs: [PositionRange]
) throws -> Double {
  let all = [PositionRange(0..<tokens)]
  let q = try random(problem.queryShape, number: 0).read(shard: all)
  let k = try random(problem.keyShape, number: 1).read(shard: all)
  let v = try random(problem.valueShape, number: 2).read(shard: all)
  let (heads, dim) = (shape.queryHeads, shape.headDim)
  var worst = 0.0
  for (row, query) in runs.flatMap({ Array($0) }).enumerated() {
    for head in 0..<heads {
      let seen = max(0, query - window.width + 1)...query
      let weights = seen.map { key in
        exp(
          (0..<dim).reduce(0.0) { sum, d in
            sum + Double(q.span[(query * heads + head) * dim + d]) * Double(k.span[key * dim + d])
          } / Double(dim).squareRoot())
      }
      for d in 0..<dim {
        let sum = zip(seen, weights).reduce(0.0) { $0 + $1.1 * Double(v.span[$1.0 * dim + d]) }
        let expected = sum / weights.reduce(0, +)
        worst = max(worst, abs(Double(o.span[(row * heads + head) * dim + d]) - expected))
      }
    }
  }
  return worst
}
