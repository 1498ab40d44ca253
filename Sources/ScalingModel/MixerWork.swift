/// What a pass of an operator with a summary or a scan is, apart from machines.
public struct MixerWork: Sendable {
  /// What ranks exchange, in this order.
  public enum Exchange: Hashable, Sendable {
    /// A state that goes from each rank to the next in so many pieces, of so many bytes together,
    /// while the tokens of others are computed with it.
    ///
    /// Where it is known what it takes to compute what a rank's tokens do to any state, over the
    /// pass, ranks do that first, of as many pieces as ranks come after them.
    case scan(pieces: Int, bytes: Double, effect: Double?)
    /// Numbers that are added up over all ranks, in as many parts as there are ranks.
    case summary(bytes: Double)
    /// Rows of the tokens before a rank's own, of so many bytes each.
    case halo(rows: Int, rowBytes: Double)
    /// Blocks of so many bytes a token that go round, each met while the next one comes, and sums
    /// of them, of `returning` bytes a token, that follow and come home.
    case ring(tokenBytes: Double, returning: Double)
  }

  /// Of the whole sequence.
  public let tokens: Int
  /// Useful floating-point operations of a token of all sequences.
  public let flopsPerToken: Double
  /// What ranks exchange.
  public let exchanges: [Exchange]
  /// What a rank of so many tokens holds.
  public let residentBytes: @Sendable (_ tokens: Int) -> Double

  /// Describes a pass.
  public init(
    tokens: Int, flopsPerToken: Double, exchanges: [Exchange],
    residentBytes: @escaping @Sendable (_ tokens: Int) -> Double
  ) {
    self.tokens = tokens
    self.flopsPerToken = flopsPerToken
    self.exchanges = exchanges
    self.residentBytes = residentBytes
  }

  /// The most bytes and messages that one of so many ranks sends.
  public func sent(ranks: Int) -> (bytes: Double, messages: Int) {
    if ranks == 1 { return (0, 0) }
    var (bytes, messages) = (0.0, 0)
    for exchange in exchanges {
      switch exchange {
      case .scan(let pieces, let all, _):
        bytes += all
        messages += pieces
      case .summary(let all):
        // Of other ranks' parts what this one has, and of its own the sum to each.
        let numbers = (all / 4).rounded()
        let own = (numbers / Double(ranks)).rounded(.up)
        bytes += 4 * (numbers - own + own * Double(ranks - 1))
        messages += min(ranks - 1, Int(numbers)) + ranks - 1
      case .halo(let rows, let rowBytes):
        // As many rows as a rank has, to as many ranks as it takes.
        let own = max(1, tokens / ranks)
        bytes += Double(rows) * rowBytes
        messages += min((rows + own - 1) / own, ranks - 1)
      case .ring(let tokenBytes, let returning):
        // All blocks but that of the next rank, at best the smallest, and sums of all.
        bytes += tokenBytes * Double(tokens - tokens / ranks) + returning * Double(tokens)
        messages += min(ranks, tokens) - 1 + (returning > 0 ? min(ranks, tokens) : 0)
      }
    }
    return (bytes, messages)
  }
}
