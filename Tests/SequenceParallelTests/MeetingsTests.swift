import Attention
import SequenceParallel
import Sharding
import Tensors
import Testing

/// That asking about many runs at once finds what asking about each pair of shards finds, with few
/// questions.
@Suite("Who meets whose block")
struct MeetingsTests {
  /// Keys at most so far from a query, on one side or on both.
  private struct Window: AttentionPattern {
    let width: Int
    let isCausal: Bool

    func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
      guard let firstKey = keys.first, let lastKey = keys.last, let first = queries.first,
        let last = queries.last
      else { return .none }
      let ahead = isCausal ? 0 : width
      if firstKey > last + ahead || lastKey <= first - width { return .none }
      return lastKey <= first + ahead && firstKey > last - width ? .all : .some
    }

    func fill(
      _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
      head: Int
    ) {
      preconditionFailure("nothing is computed")
    }
  }

  /// Squares of four by four positions, seen or not without a system; knows nothing of larger ones.
  private struct Squares: AttentionPattern {
    func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
      guard let firstKey = keys.first, let lastKey = keys.last, let first = queries.first,
        let last = queries.last
      else { return .none }
      let (key, query) = (firstKey / 4, first / 4)
      if lastKey / 4 != key || last / 4 != query { return .some }
      return (7 * key + 3 * query + key * query) % 5 < 2 ? .all : .none
    }

    func fill(
      _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
      head: Int
    ) {
      preconditionFailure("nothing is computed")
    }
  }

  /// Counts questions.
  private final class Counter: @unchecked Sendable {
    var count = 0
  }

  private struct Counting: AttentionPattern {
    let pattern: any AttentionPattern
    let counter: Counter

    func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
      counter.count += 1
      return pattern.coverage(keys: keys, queries: queries)
    }

    func fill(
      _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
      head: Int
    ) {
      pattern.fill(&bias, keys: keys, queries: queries, batch: batch, head: head)
    }
  }

  private let patterns: [any AttentionPattern] = [
    FullPattern(), CausalPattern(), CausalPattern(offset: -9), CausalPattern(offset: 30),
    Window(width: 5, isCausal: true), Window(width: 17, isCausal: false),
    Window(width: 40, isCausal: true), Squares(),
  ]

  @Test(
    "the same as pair by pair", arguments: Layout.regular, [1, 2, 3, 4, 5, 7, 8, 16, 33])
  func pairs(layout: Layout, ranks: Int) {
    for (tokens, keyTokens) in [
      (0, 5), (1, 1), (ranks, ranks), (3 * ranks + 1, 2 * ranks), (100, 100),
    ] {
      for granularity in [1, 4] {
        let queries = Sharding(layout, tokens: tokens, ranks: ranks, granularity: granularity)
        let keys = Sharding(layout, tokens: keyTokens, ranks: ranks, granularity: granularity)
        for pattern in patterns {
          let found = Meetings(pattern, keys: keys, queries: queries)
          let expected = Meetings(ranks: ranks, runs: keys.shards.map(\.count)) {
            pattern.reaches(keys: [keys.shards[$1][$2]], queries: queries.shards[$0])
          }
          let name = "\(pattern), \(tokens), \(keyTokens), \(granularity)"
          #expect(found.runVisitors == expected.runVisitors, "\(name)")
          #expect(found.visitors == expected.visitors && found.owners == expected.owners, "\(name)")
          let swapped = Meetings(ranks: ranks, runs: queries.shards.map(\.count)) {
            pattern.reaches(keys: keys.shards[$0], queries: [queries.shards[$1][$2]])
          }
          #expect(found.swapped.runVisitors == swapped.runVisitors, "\(name)")
          #expect(found.swapped.owners == expected.visitors)
        }
      }
    }
  }

  @Test("questions grow with the ranks, not with their square", arguments: Layout.regular)
  func questions(layout: Layout) {
    for ranks in [256, 1024, 4096] {
      for granularity in [1, 8] {
        let shards = Sharding(
          layout, tokens: 64 * ranks + 5, ranks: ranks, granularity: granularity)
        for pattern in [
          FullPattern(), CausalPattern(), Window(width: 4096, isCausal: true),
        ] as [any AttentionPattern] {
          let counter = Counter()
          let meetings = Meetings(
            Counting(pattern: pattern, counter: counter), keys: shards, queries: shards)
          let runs = shards.shards.reduce(0) { $0 + $1.count }
          #expect(counter.count <= 40 * runs, "\(counter.count) for \(runs) runs of \(pattern)")
          #expect(meetings.owners.allSatisfy { $0.ranges.count <= 3 })
        }
      }
    }
  }
}
