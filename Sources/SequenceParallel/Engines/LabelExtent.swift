public import Attention
public import MPI
import Sharding
public import Tensors

/// The pairs that a rank computes on a route: what it has to hold of the terms of ETC's labels.
public struct LabelExtent: Hashable, Sendable {
  /// Query heads of the whole problem.
  public let heads: Range<Int>
  /// Queries.
  public let queries: [PositionRange]
  /// Keys that queries pass by; nil if they meet all keys.
  public let keys: [PositionRange]?

  /// Room for the terms of these pairs.
  ///
  /// - Parameters:
  ///   - radius: how far long queries see.
  ///   - batch: sequences.
  public func part(
    _ labels: RelativeLabels, radius: Int, batch: Int, keyTokens: Int, collectsGradients: Bool
  ) -> LabelPart {
    LabelPart(
      labels, radius: radius, batch: batch, heads: heads, queries: queries, keys: keys,
      keyTokens: keyTokens, collectsGradients: collectsGradients)
  }

  /// The bytes of that.
  public func byteCount(
    _ labels: RelativeLabels, radius: Int, batch: Int, keyTokens: Int, collectsGradients: Bool
  ) -> Double {
    LabelPart.byteCount(
      labels, radius: radius, batch: batch, heads: heads.count, queries: queries,
      keyTokens: keyTokens, collectsGradients: collectsGradients)
  }
}

extension ShardedAttention {
  /// The pairs that a rank computes in a pass on a route.
  ///
  /// Where keys travel they are those of its queries; where queries do, those of the queries that
  /// see some of its keys: the neighbours of these and global tokens, and all queries on a rank
  /// that has a global token; where ranks share heads, of its heads and the tokens of its row.
  ///
  /// - Parameters:
  ///   - route: of the forward pass, which says who shares heads.
  ///   - travelling: what travels in the pass.
  ///   - radius: how far long queries see.
  /// - Throws: ``RouteError`` if the route cannot serve the ranks.
  public func labelExtent(
    rank: Int, route: Route, travelling: Travelling, _ labels: RelativeLabels, radius: Int
  ) throws -> LabelExtent {
    let extent = try biasExtent(rank: rank, route: route, travelling: travelling)
    if travelling == .keys {
      return LabelExtent(heads: extent.heads, queries: extent.queries, keys: nil)
    }
    let ofGlobals = labels.globals.map {
      $0.lowerBound - labels.offset..<$0.upperBound - labels.offset
    }
    let hasGlobal = extent.keys.contains { run in
      labels.globals.contains { !run.indices(in: $0).isEmpty }
    }
    let near = extent.keys.compactMap { run -> Range<Int>? in
      guard let first = run.first, let last = run.last else { return nil }
      return first - radius - labels.offset..<last + radius + 1 - labels.offset
    }
    let all = 0..<queries.tokens
    let met = hasGlobal ? [all] : (near + ofGlobals).map { $0.clamped(to: all) }
    return LabelExtent(
      heads: extent.heads, queries: Self.joined(met).map { PositionRange($0) },
      keys: extent.keys)
  }

  /// Ranges in ascending order, those that touch as one.
  private static func joined(_ ranges: [Range<Int>]) -> [Range<Int>] {
    var joined: [Range<Int>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
      if let last = joined.last, last.upperBound >= range.lowerBound {
        joined[joined.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
      } else {
        joined.append(range)
      }
    }
    return joined
  }
}

extension LabelPart {
  /// The same gradients where each rank has those of all heads of its own queries, called by all
  /// ranks together.
  ///
  /// Each pair is computed by one rank, so that nothing is rounded on the way.
  ///
  /// - Parameters:
  ///   - problem: whose queries they are.
  ///   - extents: of the backward pass, of each rank.
  /// - Complexity: a message for each pair of ranks one of which computes pairs of the other's
  ///   queries, of as many numbers as there are such pairs.
  public func gradientsAtHome(
    _ problem: ShardedAttention, extents: [LabelExtent], on world: borrowing Communicator
  ) throws(MPIError) -> LabelPart {
    let (shape, rank) = (problem.shape, world.rank)
    let isHome = extents.allSatisfy { $0.keys == nil && $0.heads.count == shape.queryHeads }
    if isHome { return self }
    let all = [PositionRange(0..<problem.keys.tokens)]
    let home = LabelPart(
      labels, radius: radius, batch: shape.batch, heads: 0..<shape.queryHeads,
      queries: problem.queries.shards[rank], keyTokens: problem.keys.tokens,
      collectsGradients: true)
    /// The rows of an owner's queries that another rank has computed in part.
    func forEachRow(
      of owner: Int, computedBy extent: LabelExtent,
      _ body: (_ batch: Int, _ head: Int, _ query: Int) -> Void
    ) {
      for batch in 0..<shape.batch {
        for head in extent.heads {
          for query in problem.queries.shards[owner].joined()
          where extent.queries.contains(where: { $0.contains(query) }) {
            body(batch, head, query)
          }
        }
      }
    }
    let outgoing = (0..<world.size).map { owner -> [Float] in
      var message: [Float] = []
      forEachRow(of: owner, computedBy: extents[rank]) {
        appendGradients(
          batch: $0, head: $1, query: $2, keys: extents[rank].keys ?? all, to: &message)
      }
      return message
    }
    for (other, message) in try world.allToAll(outgoing).enumerated() {
      var next = 0
      forEachRow(of: rank, computedBy: extents[other]) {
        home.addGradients(
          batch: $0, head: $1, query: $2, keys: extents[other].keys ?? all, from: message,
          at: &next)
      }
      precondition(next == message.count, "gradients of other pairs than were expected")
    }
    return home
  }
}
