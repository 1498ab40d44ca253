import Attention
import Jobs
import MPI
import Reporting
import SequenceParallel
import Sharding

extension AttentionInput {
  /// The same with queries and keys turned as they are read.
  func turned(by positions: RotaryPositions?) -> AttentionInput {
    guard let positions else { return self }
    var turned = self
    turned.q = TurnedRows(q, by: positions, at: places.queries)
    turned.k = TurnedRows(k, by: positions, at: places.keys)
    turned.projections = projections.map {
      GlobalProjections(
        q: TurnedRows($0.q, by: positions, at: places.queries),
        k: TurnedRows($0.k, by: positions, at: places.keys), v: $0.v)
    }
    return turned
  }
}

extension PassResult {
  /// The same with the gradients of queries and keys as they are in the input.
  consuming func turnedBack(
    by positions: RotaryPositions?, _ input: AttentionInput, _ problem: some ShardedProblem,
    rank: Int
  ) -> PassResult {
    if let positions {
      gradients?.turnBack(
        by: positions, queries: (problem.queries.shards[rank], input.places.queries),
        keys: (problem.keys.shards[rank], input.places.keys))
    }
    return self
  }
}

/// Refuses positions that are not the same on all ranks, which a file of factors may make them.
func requireSamePositions(
  _ positions: RotaryPositions?, on world: borrowing Communicator
) throws {
  guard let positions else { return }
  let numbers = positions.frequencies + [positions.magnitude]
  let all = try world.allGather(numbers)
  try world.agreed {
    guard let other = all.firstIndex(where: { $0 != numbers }) else { return }
    throw UserError(
      "--rope-scaling has other factors on rank \(other) than here: its file differs from host to "
        + "host; put the same file everywhere.")
  }
}
