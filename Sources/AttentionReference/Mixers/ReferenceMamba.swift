import Glibc

/// What a channel of Mamba's selective scan is computed from.
public struct ReferenceMambaChannel {
  /// Of each token.
  public var x: [Double] = []
  /// Step sizes, before a bias and `softplus`.
  public var delta: [Double] = []
  /// `[state]`.
  public var a: [Double] = []
  /// `[tokens, state]`.
  public var b: [Double] = []
  /// `[tokens, state]`.
  public var c: [Double] = []
  /// What of x goes to the output by itself.
  public var d = 0.0
  /// Of each token; empty for none.
  public var z: [Double] = []
  /// Added to step sizes.
  public var deltaBias = 0.0
  /// Whether step sizes go through `ln(1 + e^x)`.
  public var softplus = false
  /// The weights of a convolution, the last for the token itself; empty for none.
  public var convolution: [Double] = []
  /// Added to what is convolved.
  public var convolutionBias = 0.0
  /// Of x before the first token, as many as there are weights less one; empty for zeros.
  public var before: [Double] = []
  /// What the sequence starts from; empty for zeros.
  public var state: [Double] = []

  /// Nothing.
  public init() {}

  /// Outputs, and the state after the last token: the recurrence of the paper with the authors'
  /// `B̄ = Δ B`, a token at a time.
  ///
  /// - Complexity: O(tokens · state).
  public func run() -> (o: [Double], state: [Double]) {
    var h = state.isEmpty ? [Double](repeating: 0, count: a.count) : state
    let (tokens, states) = (x.count, a.count)
    func silu(_ x: Double) -> Double { x / (1 + exp(-x)) }
    func input(_ token: Int) -> Double {
      if convolution.isEmpty { return x[token] }
      var sum = convolutionBias
      for (tap, weight) in convolution.enumerated() {
        let place = token - (convolution.count - 1 - tap)
        if place >= 0 {
          sum += weight * x[place]
        } else if !before.isEmpty {
          sum += weight * before[before.count + place]
        }
      }
      return silu(sum)
    }
    var o: [Double] = []
    for token in 0..<tokens {
      let raw = delta[token] + deltaBias
      let step = softplus ? (raw > 30 ? raw : log1p(exp(raw))) : raw
      let u = input(token)
      var y = d * u
      for n in 0..<states {
        h[n] = exp(step * a[n]) * h[n] + step * b[token * states + n] * u
        y += c[token * states + n] * h[n]
      }
      o.append(z.isEmpty ? y : y * silu(z[token]))
    }
    return (o, h)
  }
}
