import Attention
import Sharding

/// Parts of a problem that are planned, sent and computed apart, and merged in the end: without
/// learned sinks, which are one more logit of the whole.
extension ShardedAttention {
  /// The same over some of the keys.
  public func seeing(_ range: Range<Int>, isAll: Bool = false) -> ShardedAttention {
    seeing(isAll ? pattern : IntersectedPattern([pattern, KeyRangePattern(range)]))
  }

  /// The same of some of the queries, by their indices; the others see nothing.
  public func seen(by queries: [Range<Int>]) -> ShardedAttention {
    seeing(IntersectedPattern([pattern, QueryRangesPattern(queries)]))
  }

  /// The same under another mask.
  func seeing(_ pattern: any AttentionPattern) -> ShardedAttention {
    ShardedAttention(
      shape: shape, queries: queries, keys: keys, pattern: pattern, scoreRule: scoreRule,
      scale: scale, wire: wire, accumulation: accumulation, arithmetic: arithmetic)
  }
}
