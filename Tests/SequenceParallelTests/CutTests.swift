import Attention
import SequenceParallel
import Sharding
import Tensors
import Testing

/// Runs that are cut where what others see of them ends, and what travels of them.
@Suite("What others see of a shard")
struct CutTests {
  private let shape = AttentionShape(
    batch: 1, queryHeads: 2, kvHeads: 2, headDim: 64, valueHeadDim: 64)
  /// Of a key and its value.
  private let keyBytes = Double(2 * 128 * 4)

  private func planner(
    _ pattern: any AttentionPattern, tokens: Int = 65_536, ranks: Int = 8,
    layout: Layout = .contiguous, accumulation: Accumulation = .fast
  ) -> RoutePlanner {
    let sharding = Sharding(
      layout, tokens: tokens, ranks: ranks, granularity: accumulation.granularity)
    return RoutePlanner(
      ShardedAttention(
        shape: shape, queries: sharding, keys: sharding, pattern: pattern,
        accumulation: accumulation), topology: Topology(ranks: ranks, ranksPerNode: 1))
  }

  @Test("under a window the next rank gets its halo, and four sink tokens cost four tokens")
  func halo() {
    for sinks in [0, 4] {
      let planner = planner(sinkWindow(width: 1024, sinks: sinks))
      let tokens = Double(1023 + sinks)
      let ring = planner.traffic(on: .ring, .forward)
      // What a rank sends the next one gets, and the last sends nothing.
      #expect(ring.bytesSent == [Double](repeating: tokens * keyBytes, count: 7) + [0])
      #expect(ring.messagesSent == [Int](repeating: sinks > 0 ? 2 : 1, count: 7) + [0])
      // Gradients of halos go straight home, those of sinks by all ranks and then home.
      let backward = planner.traffic(on: .ring, .backward)
      #expect(
        backward.bytesSent
          == zip(ring.bytesSent, [0] + [Double](repeating: tokens * keyBytes, count: 7)).map {
            $0 + $1
          })
      let gather = planner.traffic(on: .allgather, .forward)
      #expect(
        gather.bytesSent
          == [Double(1023 + 7 * sinks) * keyBytes]
          + [Double](repeating: 1023 * keyBytes, count: 6) + [0])
      // Room beside the own block for what passes by, once where it makes one hop.
      let resident = planner.residentBytes(on: .ring, backward: nil)
      let own = Double(8192) * (keyBytes + Double(2 * (128 + 2 + 65) * 4))
      #expect(resident[3] == own + (sinks > 0 ? 2 : 1) * tokens * keyBytes)
    }
    // Of queries the next rank's first 1,023 see this one's keys.
    let queries = planner(sinkWindow(width: 1024, sinks: 0)).traffic(on: .query, .forward)
    let query = Double(2 * 64 * 4)
    let result = Double(2 * 66 * 4)
    #expect(
      queries.bytesSent == [1023 * result]
        + [Double](repeating: 1023 * (query + result), count: 6) + [1023 * query])
  }

  @Test("reproducible sums are cut at whole leaves")
  func leaves() {
    let leaf = Accumulation.reproducible.granularity
    let planner = planner(
      sinkWindow(width: 100, sinks: 1), tokens: 40 * leaf + 7, ranks: 4,
      accumulation: .reproducible)
    for runs in planner.problem.keys.shards + planner.problem.queries.shards {
      #expect(Accumulation.reproducible.accepts(runs))
    }
    #expect(
      planner.problem.keys.shards[0].map(\.count) == [leaf, 9 * leaf, leaf]
        || planner.problem.keys.shards[0].map(\.count) == [leaf, 8 * leaf, leaf])
  }

  @Test("what others see differently is cut for each of them")
  func several() throws {
    let queries = try Sharding(
      shards: [[]] + (0..<4).map { [PositionRange($0 * 1000..<($0 + 1) * 1000)] }, tokens: 4000)
    let keys = try Sharding(
      shards: [[PositionRange(0..<4000)], [], [], [], []], tokens: 4000)
    let planner = RoutePlanner(
      ShardedAttention(shape: shape, queries: queries, keys: keys, pattern: CausalPattern()),
      topology: Topology(ranks: 5, ranksPerNode: 1))
    #expect(planner.problem.keys.shards[0].map(\.count) == [1000, 1000, 1000, 1000])
    let sent = planner.traffic(on: .allgather, .forward).bytesSent
    #expect(sent == [10_000 * keyBytes, 0, 0, 0, 0])
  }

  @Test("nothing is cut that all see or nobody", arguments: Layout.regular)
  func whole(layout: Layout) {
    for pattern in [FullPattern(), CausalPattern()] as [any AttentionPattern] {
      let planner = planner(pattern, tokens: 10_007, layout: layout)
      #expect(planner.problem.keys == Sharding(layout, tokens: 10_007, ranks: 8))
      #expect(planner.problem.queries == planner.problem.keys)
    }
  }

  @Test("documents that fit a shard are sent nowhere, those across an edge no further")
  func documents() {
    // 64 documents of 1,024 tokens, 8 a rank; then such that 924 of one end a shard and its other
    // 100 begin the next.
    for moved in [0, 924] {
      let labels = (0..<65_536).map { (token: Int) -> Int32 in
        Int32((token + moved) / 1024 * 7919 % 4096)
      }
      let documents = SegmentPattern(queries: [labels])
      let causal = planner(IntersectedPattern([documents, CausalPattern()]))
      let full = planner(documents)
      func sent(_ planner: RoutePlanner, _ route: Route, _ pass: AttentionPass) -> [Double] {
        planner.traffic(on: route, pass).bytesSent.map { $0 / keyBytes }
      }
      for route in [Route.ring, .allgather, .query] where moved == 0 {
        for pass in [AttentionPass.forward, .backward] {
          #expect(sent(causal, route, pass).allSatisfy { $0 == 0 })
          #expect(sent(full, route, pass).allSatisfy { $0 == 0 })
        }
      }
      if moved == 0 { continue }
      let forth = [Double](repeating: 924, count: 7) + [0]
      #expect(sent(causal, .ring, .forward) == forth)
      #expect(sent(causal, .allgather, .forward) == forth)
      #expect(
        sent(full, .allgather, .forward) == [924] + [Double](repeating: 1024, count: 6) + [100])
    }
  }

  @Test("padding is sent nowhere, unless it is real in another sequence")
  func padding() {
    let tokens = 65_536
    func real(_ count: Int) -> [Bool] { (0..<tokens).map { $0 < count } }
    // Of 8 shards of 8,192, the last three are padding in both sequences and half of the fifth.
    let pattern = PaddingPattern(isReal: [real(36_864), real(20_000)])
    let shape = AttentionShape(
      batch: 2, queryHeads: 2, kvHeads: 2, headDim: 64, valueHeadDim: 64)
    let sharding = Sharding(.contiguous, tokens: tokens, ranks: 8)
    let planner = RoutePlanner(
      ShardedAttention(shape: shape, queries: sharding, keys: sharding, pattern: pattern),
      topology: Topology(ranks: 8, ranksPerNode: 1))
    let sent = planner.traffic(on: .allgather, .forward).bytesSent
    let whole = 7 * 8192 * 2 * keyBytes
    #expect(sent == [Double](repeating: whole, count: 4) + [whole / 2, 0, 0, 0])
  }

  /// Keys of some stretches are visible to all, others to nobody.
  private struct Stretches: AttentionPattern {
    let visible: [Range<Int>]

    func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
      guard let first = keys.first, let last = keys.last, !queries.isEmpty else { return .none }
      if visible.contains(where: { $0.contains(first) && $0.contains(last) }) { return .all }
      return visible.contains { $0.overlaps(first..<last + 1) } ? .some : .none
    }

    func fill(
      _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
      head: Int
    ) {
      preconditionFailure("nothing is computed")
    }
  }

  @Test("long stretches that nobody sees are found, and nothing else is left out")
  func stretches() {
    for (visible, runs) in [
      ([0..<4, 900..<1000], [0..<4, 4..<900, 900..<1000]),
      ([0..<1000], [0..<1000]),
      ([300..<310], [0..<300, 300..<310, 310..<1000]),
      // Too short to be worth a cut.
      ([40..<960], [0..<1000]),
      ([0..<300, 340..<1000], [0..<1000]),
      ([10..<20, 200..<210, 600..<1000], [0..<20, 20..<200, 200..<210, 210..<600, 600..<1000]),
      ([], [0..<1000]),
    ] as [([Range<Int>], [Range<Int>])] {
      let planner = planner(Stretches(visible: visible), tokens: 2000, ranks: 2)
      #expect(planner.problem.keys.shards[0] == runs.map { PositionRange($0) }, "\(visible)")
    }
  }
}
