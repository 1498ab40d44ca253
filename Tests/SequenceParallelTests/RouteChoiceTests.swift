import Attention
import SequenceParallel
import Sharding
import Tensors
import Testing

/// The choice between routes: what is cheapest, and that choosing is cheap.
@Suite("Choosing a route")
struct RouteChoiceTests {
  /// A mask that counts what it is asked.
  private struct CountedMask: AttentionPattern {
    final class Counter: @unchecked Sendable {
      var count = 0
    }

    let counter = Counter()
    let mask: any AttentionPattern

    func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
      counter.count += 1
      return mask.coverage(keys: keys, queries: queries)
    }

    func fill(
      _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
      head: Int
    ) {
      mask.fill(&bias, keys: keys, queries: queries, batch: batch, head: head)
    }
  }

  private let speeds = MeasuredSpeeds(
    flopsPerSecond: 1e11, bytesPerSecond: 1e9, latency: 2e-5)

  private func problem(
    _ layout: Layout, tokens: Int, keyTokens: Int? = nil, ranks: Int, queryHeads: Int = 8,
    kvHeads: Int = 8, pattern: any AttentionPattern = CausalPattern()
  ) -> ShardedAttention {
    ShardedAttention(
      shape: AttentionShape(
        batch: 1, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 64, valueHeadDim: 64),
      queries: Sharding(layout, tokens: tokens, ranks: ranks),
      keys: Sharding(layout, tokens: keyTokens ?? tokens, ranks: ranks), pattern: pattern)
  }

  @Test("takes few questions, whatever the number of ranks", arguments: Layout.regular)
  func cost(layout: Layout) {
    for (ranks, most) in [(1024, 0.1), (10_000, 2.0)] {
      // Of striped shards a pattern that compares ends knows little more narrow than their number.
      let width = layout == .striped ? 2 * ranks : 1024
      let masks: [any AttentionPattern] = [CausalPattern(), sinkWindow(width: width, sinks: 4)]
      for (ranksPerHost, mask) in [(1, masks[0]), (16, masks[0]), (1, masks[1]), (16, masks[1])] {
        let mask = CountedMask(mask: mask)
        let problem = problem(
          layout, tokens: 4096 * ranks, ranks: ranks, queryHeads: 16_384, pattern: mask)
        let clock = ContinuousClock()
        var estimates: [RouteEstimate] = []
        let time = clock.measure {
          let planner = RoutePlanner(
            problem, topology: Topology(ranks: ranks, ranksPerNode: ranksPerHost))
          estimates = planner.cheapest(backward: .automatic, speeds: speeds)
        }
        #expect(estimates.contains { $0.route == .heads } && estimates.count >= 3)
        let runs = problem.queries.shards.reduce(0) { $0 + $1.count }
        #expect(mask.counter.count <= 1000 * runs, "\(mask.counter.count) questions")
        let seconds = time / .seconds(1)
        print(
          "\(ranks) ranks, \(ranksPerHost) a host, \(layout), \(mask.mask): \(mask.counter.count) questions, "
            + "\(seconds) s; \(most) s are allowed on an idle core")
        // Tests share cores with others; a square of the ranks would be hundreds of times as much.
        #expect(seconds < 20 * most)
      }
    }
  }

  @Test("gradients that go home count for allgather")
  func gatheredGradients() {
    let ranks = 8
    let planner = RoutePlanner(
      problem(.zigzag, tokens: 800, ranks: ranks, queryHeads: 8, kvHeads: 1),
      topology: Topology(ranks: ranks, ranksPerNode: 1))
    // Of each key and its value 512 bytes. The early half of a shard goes to seven others, the late
    // half to the ranks before, and gradients of the same home.
    let half = Double(50 * 2 * 64 * 4)
    let sent = (0..<ranks).map { (7 + Double($0)) * half }
    #expect(planner.traffic(on: .allgather, .forward).bytesToOtherHosts == sent)
    #expect(
      planner.traffic(on: .allgather, .backward).bytesToOtherHosts
        == sent.indices.map { sent[$0] + (7 + Double(7 - $0)) * half })
    let link = MeasuredSpeeds(flopsPerSecond: .infinity, bytesPerSecond: 1, latency: 0)
    let seconds = planner.cheapest(backward: .keys, speeds: link)
      .first { $0.route == .allgather }?.seconds
    #expect(seconds == (14 + 21) * half)
  }

  @Test("queries go the other way round, and that way no further than they must")
  func direction() {
    // Contiguous shards and a causal mask: queries are of use to the ranks before.
    let planner = RoutePlanner(
      problem(.contiguous, tokens: 400, ranks: 4),
      topology: Topology(ranks: 4, ranksPerNode: 2))
    let rows = Double(100 * 8 * 4)
    let (block, result) = (rows * 64, rows * 66)
    let ring = planner.traffic(on: .query, .forward)
    #expect(
      ring.bytesSent == [
        // Results of ranks 1, 2, 3 go home from rank 0; blocks of r … 3 go on from r, and results
        // of those that did not begin there.
        3 * result, 3 * block + 2 * result, 2 * block + result, block,
      ])
    // From 2 to 1, and from 0 home to 2 and 3; 1 passes results on to 0, on the same host.
    #expect(ring.bytesToOtherHosts == [2 * result, 0, 2 * block + result, 0])
    let hosts = planner.traffic(on: .hierarchical.with(.queries), .forward)
    // One hop to the host before and straight home.
    #expect(hosts.bytesSent == [result, result, block, block])
    #expect(hosts.bytesToOtherHosts == hosts.bytesSent)
  }

  @Test("few queries against many keys go by routes of queries, in one pass and in both")
  func fewQueries() {
    let planner = RoutePlanner(
      problem(.zigzag, tokens: 16, keyTokens: 160_000, ranks: 16, pattern: FullPattern()),
      topology: Topology(ranks: 16, ranksPerNode: 4))
    for backward in [nil, BackwardRoute.automatic, .queries] {
      let first = planner.cheapest(backward: backward, speeds: speeds).first?.route
      #expect(first?.travelling == .queries, "\(String(describing: first))")
    }
    #expect(planner.backwardDecision(.automatic, after: .ring).route == .query)
  }

  @Test("a name says a route, and no two routes have the same")
  func names() {
    var seen: [String: Route] = [:]
    for travelling in Travelling.allCases {
      for grouping in [Grouping.alone, .hosts, .all] {
        for delivery in [Delivery.rotating, .direct] {
          for heads in [HeadSharing.nobody, .everybody, .grid(columns: 2, rows: 4)] {
            let route = Route(
              travelling: travelling, grouping: grouping, delivery: delivery, heads: heads)
            #expect(seen.updateValue(route, forKey: route.description) == nil, "\(route)")
          }
        }
      }
    }
    for (name, route) in Route.named { #expect(route.description == name) }
    #expect(Route.mesh(heads: 2, ring: 4).description == "mesh:2x4")
  }
}
