import Attention
import Tensors

/// What a query sees, which is another from pass to pass of one connection.
///
/// The connection is made for all that any of them shows; what a pass hides of that is not
/// computed. It changes between passes only.
final class LatestPattern: AttentionPattern, @unchecked Sendable {
  /// What is seen now, which is no more than any pass may show.
  var current: any AttentionPattern

  /// - Parameter whole: what may be seen in any pass.
  init(whole: any AttentionPattern) { current = whole }

  var period: Int { current.period }
  var dependsOnBatch: Bool { current.dependsOnBatch }
  var dependsOnHead: Bool { current.dependsOnHead }
  var byteCount: Int { current.byteCount }
  var hasBias: Bool { current.hasBias }
  var singularQueries: [Range<Int>] { current.singularQueries }

  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    current.coverage(keys: keys, queries: queries)
  }

  func coverage(
    keys: PositionRange, queries: PositionRange, batch: Int, head: Int
  ) -> Coverage {
    current.coverage(keys: keys, queries: queries, batch: batch, head: head)
  }

  func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? {
    current.visibleKeys(of: query, in: keys, batch: batch, head: head)
  }

  func narrow(
    _ seen: inout MutableSpan<Range<Int>>, to keys: PositionRange, of queries: PositionRange,
    batch: Int, head: Int
  ) -> Bool {
    current.narrow(&seen, to: keys, of: queries, batch: batch, head: head)
  }

  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    current.fill(&bias, keys: keys, queries: queries, batch: batch, head: head)
  }
}
