import AttentionReference
import Compute
import MPI
import Tensors

/// SOFT: attention with a Gaussian kernel for a softmax, and keys that are the queries, through
/// landmarks: `o = K(Q, L) A⁺ K(L, Q) V` with `K(a, b) = e^{−‖a − b‖² / (2 √headDim)}`,
/// `A = K(L, L)`, and Newton's iterates for its inverse.
///
/// A landmark is the mean of a run of tokens. Two sums travel: of landmarks, and of `K(L, Q) V`;
/// what is computed of landmarks alone every rank computes, in double precision. Any layout is as
/// good.
///
/// Source: Lu et al. 2021, SOFT: Softmax-free Transformer with Linear Complexity. There landmarks
/// are a convolution of an image; means of runs are what is left of it for a text.
struct SOFT: Mixer {
  static let name = "soft"
  static let summary = "attention with a Gaussian kernel, through landmarks"
  static let demands = [
    TensorDemand("q", "batch tokens heads headDim"),
    TensorDemand("v", "batch tokens heads valueHeadDim"),
  ]
  static let randomDimensions = ["batch", "tokens", "heads", "headDim"]
  static let furtherRandomDimensions = [(name: "valueHeadDim", likewise: "headDim")]
  static let unitDimension = "heads"
  static let options: Set<MixerOption> = [.landmarks, .newton, .normalized]

  let sizes: MixerSizes
  /// How many landmarks there are.
  let landmarks: Int
  /// Steps of Newton.
  let steps: Int
  let isNormalized: Bool
  private let heads: Int
  /// Columns of queries and of values.
  let d: Int
  let c: Int

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    self.sizes = sizes
    (heads, d, c) = (sizes["heads"], sizes["headDim"], sizes["valueHeadDim"])
    steps = options.newtonSteps ?? 20
    isNormalized = options.isNormalized
    let tokens = sizes["tokens"]
    landmarks = options.landmarks ?? min(64, tokens)
    guard tokens == 0 || landmarks <= tokens else {
      throw MixerError(
        "--landmarks is \(landmarks), and there are \(tokens) tokens: a landmark is the mean of at "
          + "least one; give at most \(tokens).")
    }
  }

  var inputs: [TensorForm] { Self.forms(sizes, present: []) }
  var outputs: [TensorForm] { [Self.demands[1].form(sizes, named: "o")] }
  var isInOrder: Bool { false }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    let rows = units * landmarks
    // What a float holds of landmarks, and the rest; or what they are given, and its sum.
    return (backward ? [] : [.summary(floats: rows * d), .summary(floats: rows * d)])
      + [.summary(floats: rows * c)]
      + (backward ? [.summary(floats: rows * (d + 1))] : [])
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    let pairs = Double(heads * landmarks)
    return (pairs * Double(6 * d + 4 * c), pairs * Double(10 * d + 8 * c))
  }
  var units: Int { batch * heads }

  /// The landmark that a token is of.
  func landmark(at position: Int) -> Int { position * landmarks / max(1, tokens) }

  /// Tokens of a landmark.
  func size(of landmark: Int) -> Int {
    let ends = [landmark, landmark + 1].map { ($0 * tokens + landmarks - 1) / landmarks }
    return ends[1] - ends[0]
  }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = MixerResult()
    let o = result.outputs.addZeros(outputs[0], tokens: line.tokens)
    let rows = SOFTRows(self, x, on: line)
    let means = try rows.means(on: line)
    let read = try rows.read(means, x["v"], on: line)
    let middle = rows.middles(means, read, on: line)
    rows.write(means, middle, into: o, on: line)
    for tensor in [means, read, middle] { result.kept.add(tensor) }
    return result
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let gradients = zeroGradients(on: line)
    let rows = SOFTRows(self, x, on: line)
    let (means, read, middle) = (
      result.kept["means"], result.kept["read"], result.kept["middle"]
    )
    let ofMiddle = try rows.read(means, gradient, on: line)
    let (ofRead, ofMeans) = rows.middleGradients(means, read, ofMiddle, on: line)
    try rows.gradients(
      means, middle, ofRead, ofMeans, gradient, queries: gradients["dq"], values: gradients["dv"],
      on: line)
    return gradients
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    guard let q = inputs["q"], let v = inputs["v"] else { return [:] }
    return [
      "o": referenceSOFT(
        q: q, v: v, headDim: d, landmarks: landmarks, steps: steps, isNormalized: isNormalized)
    ]
  }
}
