import Glibc

/// How rotary positions reach further than a model was trained for: what becomes of its
/// frequencies.
///
/// With D turned columns and base b they are `θ_k = b^(−2k/D)`, k = 0 … D/2 − 1, in radians a
/// token. S is how many times as far positions reach, L the length that a model was trained with.
public enum RotaryScaling: Hashable, Sendable {
  /// As they are.
  case none

  /// `θ / S`: position interpolation.
  ///
  /// Source: Chen et al. 2023, Extending Context Window of LLMs via Positional Interpolation.
  case linear(Double)

  /// A larger base, `b · S^(D/(D−2))`, which leaves the fastest as it is and slows the slowest by
  /// S.
  ///
  /// Source: bloc97 2023, NTK-aware scaled RoPE.
  case ntk(Double)

  /// The same with `S·ℓ/L − (S − 1)` for S, for sequences of ℓ tokens that are longer than L.
  case dynamicNTK(Double, trainedLength: Double)

  /// Slow frequencies are divided by S, fast ones stay, and those that turn 1 to 32 times in L go
  /// over from one to the other; rows are `0.1 ln S + 1` times as long.
  ///
  /// The first and the last that go over are rounded to whole k, or not, as in models of gpt-oss.
  ///
  /// Source: Peng et al. 2023, YaRN.
  case yarn(Double, trainedLength: Double, rounds: Bool = true)

  /// Wavelengths over `L/low` are stretched by S, those under `L/high` stay, and what is between
  /// goes over from one to the other.
  ///
  /// Source: Llama Team 2024, Llama 3.1.
  case llama3(Double, low: Double, high: Double, trainedLength: Double)

  /// Each is divided by a factor of its own.
  ///
  /// Source: Ding et al. 2024, LongRoPE.
  case longRoPE(LongRoPEFactors)

  /// The frequencies of a sequence, and what rows are multiplied by.
  ///
  /// - Parameters:
  ///   - columns: D, even.
  ///   - base: b.
  ///   - tokens: ℓ, of the whole sequence.
  func frequencies(
    columns: Int, base: Double, tokens: Int
  ) -> (frequencies: [Double], magnitude: Double) {
    let d = Double(columns)
    func powers(_ base: Double) -> [Double] {
      (0..<columns / 2).map { pow(base, -2 * Double($0) / d) }
    }
    /// A base so large that the slowest is S times as slow; of two columns there is but one.
    func largerBase(_ scale: Double) -> Double {
      columns > 2 ? base * pow(scale, d / (d - 2)) : base
    }
    let plain = powers(base)
    switch self {
    case .none:
      return (plain, 1)
    case .linear(let scale):
      return (plain.map { $0 / scale }, 1)
    case .ntk(let scale):
      return (powers(largerBase(scale)), 1)
    case .dynamicNTK(let scale, let length):
      let reach = scale * Double(tokens) / length - (scale - 1)
      return (Double(tokens) > length ? powers(largerBase(reach)) : plain, 1)
    case .yarn(let scale, let length, let rounds):
      let (low, high) = Self.yarnColumns(d, base: base, trainedLength: length, rounds: rounds)
      let frequencies = plain.enumerated().map { k, frequency in
        let ramp = min(max((Double(k) - low) / max(high - low, 0.001), 0), 1)
        return frequency / scale * ramp + frequency * (1 - ramp)
      }
      return (frequencies, scale > 1 ? 0.1 * log(scale) + 1 : 1)
    case .llama3(let scale, let low, let high, let length):
      let frequencies = plain.map { frequency in
        let turns = length * frequency / (2 * .pi)
        if turns < low { return frequency / scale }
        if turns > high { return frequency }
        let share = (turns - low) / (high - low)
        return (1 - share) * frequency / scale + share * frequency
      }
      return (frequencies, 1)
    case .longRoPE(let factors):
      return (
        zip(plain, factors.factors(tokens: tokens)).map { $0 / $1 }, factors.magnitude
      )
    }
  }

  /// Between which k frequencies go over: those that turn 32 times and once in L.
  static func yarnColumns(
    _ d: Double, base: Double, trainedLength: Double, rounds: Bool
  ) -> (low: Double, high: Double) {
    func column(turns: Double) -> Double {
      d * log(trainedLength / (turns * 2 * .pi)) / (2 * log(base))
    }
    let (low, high) = (column(turns: 32), column(turns: 1))
    return (
      max(rounds ? low.rounded(.down) : low, 0), min(rounds ? high.rounded(.up) : high, d - 1)
    )
  }
}

/// What LongRoPE divides frequencies by, found by a search.
public struct LongRoPEFactors: Hashable, Sendable {
  /// For sequences up to the trained length, one for each frequency.
  public let short: [Double]
  /// For longer ones.
  public let long: [Double]
  /// L.
  public let trainedLength: Double
  /// What rows are multiplied by: `√(1 + ln S / ln L)` unless a model says otherwise.
  public let magnitude: Double

  /// Describes the factors of a model.
  ///
  /// - Parameters:
  ///   - scale: S, how many times the trained length the model is for.
  ///   - magnitude: what rows are multiplied by; nil is the published factor.
  public init(
    short: [Double], long: [Double], trainedLength: Double, scale: Double,
    magnitude: Double? = nil
  ) {
    precondition(short.count == long.count, "as many factors for short sequences as for long ones")
    self.short = short
    self.long = long
    self.trainedLength = trainedLength
    self.magnitude =
      magnitude ?? (scale > 1 ? (1 + log(scale) / log(trainedLength)).squareRoot() : 1)
  }

  func factors(tokens: Int) -> [Double] { Double(tokens) > trainedLength ? long : short }
}
