/// Which rank holds which tokens.
public enum Layout: String, Hashable, Sendable, CaseIterable {
  /// Rank 0 holds the first tokens, rank 1 the next, and so on. Balances patterns in which every
  /// query sees equally many keys.
  case contiguous

  /// Rank `r` holds `m` tokens counted from the left end and `m` from the right end of what the
  /// ranks before it left over. Under a causal mask, positions `i` and `tokens − 1 − i` together
  /// see `tokens + 1` keys, so every rank's work is exactly proportional to the tokens it holds.
  case zigzag

  /// Rank `r` holds the positions equal to `r` modulo the number of ranks. Under a causal mask the
  /// ranks' work differs by at most one key a token.
  case striped

  /// Every rank holds the same cost: whole pieces of the sequence, of as few runs as that takes.
  ///
  /// It needs to know what tokens cost:
  /// ``Sharding/init(balancing:tokens:ranks:granularity:weights:)``.
  case balanced

  /// Those that follow from the numbers of tokens and ranks alone.
  public static let regular: [Layout] = [.contiguous, .zigzag, .striped]
}
