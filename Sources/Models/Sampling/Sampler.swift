/// How the next token is drawn from logits.
public struct Sampling: Hashable, Sendable {
  /// What logits are divided by; 0 takes the most likely token.
  public var temperature = 0.0
  /// Only so many of the most likely; nil for all.
  public var topK: Int?
  /// Only the most likely that together have this probability.
  ///
  /// Source: Holtzman et al. 2020, The Curious Case of Neural Text Degeneration.
  public var topP = 1.0
  /// Only those that have this part of the probability of the most likely.
  public var minP = 0.0
  /// What logits of tokens that have been there are divided by, or multiplied by where they are
  /// negative; 1 leaves them.
  ///
  /// Source: Keskar et al. 2019, CTRL, section 4.1.
  public var repeatPenalty = 1.0
  /// How many of the last tokens count as having been there.
  public var repeatWindow = 64
  /// Another seed draws other tokens.
  public var seed: UInt64 = 0

  /// The most likely token always.
  public init() {}
}

/// Draws tokens one after the other; the same seed and logits give the same ones.
public struct Sampler: Sendable {
  private let sampling: Sampling
  private var state: UInt64

  /// Begins with the seed.
  public init(_ sampling: Sampling) {
    self.sampling = sampling
    state = sampling.seed
  }

  /// Draws a token.
  ///
  /// - Parameters:
  ///   - logits: one for each token of the vocabulary, none NaN.
  ///   - recent: the tokens so far, the last ones of which count for the penalty.
  /// - Complexity: O(`logits.count`), with an exponential for each token that `topK` leaves.
  public mutating func next(
    _ logits: [Float], after recent: some BidirectionalCollection<Int>
  ) -> Int {
    var logits = logits
    if sampling.repeatPenalty != 1 {
      let penalty = Float(sampling.repeatPenalty)
      for token in Set(recent.suffix(sampling.repeatWindow)) where logits.indices.contains(token) {
        logits[token] = logits[token] > 0 ? logits[token] / penalty : logits[token] * penalty
      }
    }
    let likeliest = Self.largest(logits)
    guard sampling.temperature > 0, logits[likeliest].isFinite else { return likeliest }
    // What is below is left out by the rule, or drawn once in 10^13 years.
    var tokens = RankedTokens(
      logits, temperature: sampling.temperature, least: max(sampling.minP, 1e-30),
      topK: sampling.topK)
    if sampling.topP < 1 { tokens.keep(probability: sampling.topP) }
    return tokens.token(at: uniform())
  }

  /// The token of the largest logit, the first of several.
  public static func largest(_ logits: [Float]) -> Int {
    var best = 0
    for index in logits.indices where logits[index] > logits[best] { best = index }
    return best
  }

  /// A number from 0 to 1, without 1: SplitMix64.
  ///
  /// Source: Steele et al. 2014, Fast Splittable Pseudorandom Number Generators.
  private mutating func uniform() -> Double {
    state &+= 0x9E37_79B9_7F4A_7C15
    var bits = state
    bits = (bits ^ bits >> 30) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ bits >> 27) &* 0x94D0_49BB_1331_11EB
    return Double((bits ^ bits >> 31) >> 11) * 0x1p-53
  }
}
