import AttentionReference
import Compute
import MPI
import Tensors

/// The attention free transformer: in each channel a mean of values with weights `e^{k_j + w_ij}`,
/// times the logistic function of `q` where that is given.
///
/// Which `w` there is, is its variant: of all pairs of tokens, of those closer than S, of distances
/// below S for groups of channels, or none. All tokens are met in any of them, also those for which
/// there is no `w`. What is kept of a token and a channel is the sum of weights, that of weighted
/// values, and the largest exponent, which all others are taken relative to: any exponents are
/// computed, −∞ among them.
///
/// Source: Zhai et al. 2021, An Attention Free Transformer.
struct AFT: Mixer {
  static let name = "aft"
  static let summary = "a mean of values in each channel, with weights by key and pair of positions"
  static let demands = tensors(of: .full)
  static let randomDimensions = ["batch", "tokens", "channels"]
  static let furtherRandomDimensions = [(name: "heads", likewise: "channels")]
  static let randomTensors: Set<String> = ["q"]
  static let unitDimension = "channels"
  static let options: Set<MixerOption> = [.causal, .variant]

  let sizes: MixerSizes
  let inputs: [TensorForm]
  let variant: AFTVariant
  /// Whether a token meets those up to itself only.
  let isCausal: Bool
  let channels: Int
  /// Distances below it have a `w`; 1 where there is none.
  let reach: Int

  static func demands(for options: MixerOptions) -> [TensorDemand] {
    tensors(of: options.variant)
  }

  private static func tensors(of variant: AFTVariant) -> [TensorDemand] {
    let bias: [TensorDemand] =
      switch variant {
      case .full, .local: [TensorDemand("w", "tokens keys", filling: .weight)]
      case .conv: [TensorDemand("w", "heads window", filling: .weight)]
      case .simple: []
      }
    return [
      TensorDemand("q", "batch tokens channels", isOptional: true),
      TensorDemand("k", "batch tokens channels"), TensorDemand("v", "batch tokens channels"),
    ] + bias
  }

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    var sizes = sizes
    variant = options.variant
    isCausal = options.isCausal
    channels = sizes["channels"]
    let tokens = sizes["tokens"]
    switch variant {
    case .full, .simple: reach = 1
    case .local(let reach), .conv(let reach): self.reach = min(reach, max(1, tokens))
    }
    let given = variant.reach ?? 1
    let window = isCausal ? given : 2 * given - 1
    let words = isCausal ? "S with --causal" : "2S − 1"
    switch variant {
    case .full:
      sizes.complete("keys", tokens)
      guard sizes["keys"] == tokens else {
        throw MixerError(
          "w has \(sizes["keys"]) columns, and there are \(tokens) tokens; give w [tokens, tokens]."
        )
      }
    case .local:
      sizes.complete("keys", window)
      guard sizes["keys"] == tokens || sizes["keys"] == window else {
        throw MixerError(
          "w has \(sizes["keys"]) columns; with --variant \(variant) give it as many as there are "
            + "tokens, \(tokens), or as there are distances, \(window) (\(words)).")
      }
    case .conv:
      sizes.complete("window", window)
      guard sizes["window"] == window else {
        throw MixerError(
          "w has a window of \(sizes["window"]); with --variant \(variant) give it \(window) "
            + "columns (\(words)).")
      }
      guard channels % sizes["heads"] == 0 else {
        throw MixerError(
          "w has \(sizes["heads"]) heads, which do not divide \(channels) channels evenly; give a "
            + "number of heads that does.")
      }
    case .simple: break
    }
    self.sizes = sizes
    inputs = Self.tensors(of: variant).filter { !$0.isOptional || present.contains($0.name) }
      .map { $0.form(sizes) }
  }

  var outputs: [TensorForm] {
    [
      TensorForm(
        name: "o", dimensions: ["batch", "tokens", "channels"], sizes: [batch, tokens, channels])
    ]
  }
  var isInOrder: Bool {
    switch variant {
    case .full: false
    case .simple: isCausal
    case .local, .conv: true
    }
  }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    switch variant {
    case .full:
      let floats = 2 * batch * paddedToVectors(channels)
      return [.ring(floats: floats, returning: backward ? floats : 0)]
    case .simple where !isCausal:
      return AFTSimple.exchanges(self, backward: backward)
    case .simple, .local, .conv:
      return AFTWindow.exchanges(self, backward: backward, ranks: ranks, threads: threads)
    }
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    let pairs: Double =
      switch variant {
      case .full: isCausal ? Double(tokens + 1) / 2 : Double(tokens)
      case .simple, .local, .conv: Double((isCausal ? reach : 2 * reach - 1) + 2)
      }
    return (8 * pairs * Double(channels), 16 * pairs * Double(channels))
  }

  func keptBytes(tokens: Int) -> Double {
    // Keys and values side by side; sums, the sum of weights and the largest exponent; backward as
    // much again.
    let copies: Double = variant == .full ? 18 : 12
    return 4 * copies * Double(batch * tokens * channels)
  }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = MixerResult()
    let o = result.outputs.addZeros(outputs[0], tokens: line.tokens)
    let means = AFTMeans(self, tokens: line.tokens)
    switch variant {
    case .full: try AFTFull(self, x, on: line).forward(means, on: line)
    case .simple where !isCausal: try AFTSimple(self, x).forward(means, on: line)
    case .simple, .local, .conv: try AFTWindow(self, x, on: line).forward(means, on: line)
    }
    means.finish(q: x.find("q"), into: o, on: line)
    result.kept.add(means.rows)
    return result
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let gradients = zeroGradients(on: line)
    let means = AFTMeans(self, tokens: line.tokens, rows: result.kept["means"])
    let slopes = means.slopes(
      q: x.find("q"), gradient, ofQueries: gradients.find("dq"), on: line)
    switch variant {
    case .full: try AFTFull(self, x, on: line).backward(slopes, to: gradients, on: line)
    case .simple where !isCausal: try AFTSimple(self, x).backward(slopes, to: gradients, on: line)
    case .simple, .local, .conv:
      try AFTWindow(self, x, on: line).backward(slopes, to: gradients, on: line)
    }
    return gradients
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    guard let k = inputs["k"], let v = inputs["v"] else { return [:] }
    let w = inputs["w"] ?? []
    let (tokens, reach) = (k.count, variant.reach ?? 1)
    let columns = sizes.find("keys") ?? 0
    let bias: (Int, Int) -> Double = { [variant] query, key in
      let distance = key - query
      switch variant {
      case .simple: return 0
      case .full: return w[query * tokens + key]
      case .local where abs(distance) >= reach: return 0
      case .conv where abs(distance) >= reach: return 0
      case .local:
        return w[query * columns + (columns == tokens ? key : distance + reach - 1)]
      case .conv: return w[distance + reach - 1]
      }
    }
    return [
      "o": referenceAFT(q: inputs["q"] ?? [], k: k, v: v, isCausal: isCausal, bias: bias)
    ]
  }
}

/// Which pairs of tokens have a weight of their own in an attention free transformer.
public enum AFTVariant: Hashable, Sendable, CustomStringConvertible {
  /// All.
  case full
  /// None.
  case simple
  /// Those closer than a distance, each its own.
  case local(Int)
  /// Those closer than a distance, by their distance, in groups of channels.
  case conv(Int)

  /// `full`, `simple`, `local:S` or `conv:S`, with S of at least 1.
  public init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    let reach = parts.count == 2 ? Int(parts[1]) : nil
    switch (parts[0], parts.count, reach) {
    case ("full", 1, _): self = .full
    case ("simple", 1, _): self = .simple
    case ("local", 2, let reach?) where reach >= 1: self = .local(reach)
    case ("conv", 2, let reach?) where reach >= 1: self = .conv(reach)
    default: return nil
    }
  }

  /// The distance; nil where there is none.
  var reach: Int? {
    switch self {
    case .full, .simple: nil
    case .local(let reach), .conv(let reach): reach
    }
  }

  /// The words on the command line.
  public var description: String {
    switch self {
    case .full: "full"
    case .simple: "simple"
    case .local(let reach): "local:\(reach)"
    case .conv(let reach): "conv:\(reach)"
    }
  }
}
