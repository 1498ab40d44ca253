import ArgumentParser
import Attention
import SequenceParallel

/// How many neighbouring ranks share the heads, and how many such groups a ring has: `2x4`.
struct Mesh: Hashable, CustomStringConvertible {
  let heads: Int
  let ring: Int

  var description: String { "\(heads)x\(ring)" }

  init(heads: Int, ring: Int) {
    self.heads = heads
    self.ring = ring
  }

  /// Parses `2x4`.
  init(parsing text: some StringProtocol) throws {
    let numbers = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard numbers.count == 2, let heads = numbers[0], let ring = numbers[1], heads >= 1, ring >= 1
    else {
      throw ValidationError(
        "give the ranks that share heads and those of a ring, both at least 1, for example 2x4.")
    }
    self.init(heads: heads, ring: ring)
  }

  /// The one for these hosts and heads: an exchange of heads that stays inside a host, or else one
  /// in which every rank has KV heads of its own.
  static func chosen(
    _ topology: Topology, _ shape: AttentionShape
  ) -> (mesh: Mesh, reason: String) {
    let ranks = topology.nodes.reduce(0) { $0 + $1.count }
    let perHost = topology.nodes[0].count
    if topology.nodes.allSatisfy({ $0.count == perHost }), perHost <= shape.queryHeads {
      return (
        Mesh(heads: perHost, ring: ranks / perHost), "\(perHost) ranks share a host's memory"
      )
    }
    let heads = (1...min(ranks, shape.kvHeads)).last { ranks % $0 == 0 } ?? 1
    return (
      Mesh(heads: heads, ring: ranks / heads), "\(heads) of \(shape.kvHeads) KV heads divide"
    )
  }
}
