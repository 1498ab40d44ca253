import AttentionReference
import Compute
import Glibc
import MPI
import Tensors

/// cosFormer: attention whose weight is `relu(q_i) · relu(k_j) · cos(π (i − j) / 2M)`, divided by
/// the sum of a query's weights or by 10⁻⁶ if that is less.
///
/// The cosine of a difference is a sum of two products, so that queries and keys with twice as many
/// columns, `(relu(x) sin, relu(x) cos)`, make it an outer-product state. Without a mask a sum over
/// ranks of `2 headDim · (valueHeadDim + 1)` numbers a head travels; causal, as many from each rank
/// to the next. Query heads may share keys and values; causal, each has a state of its own.
///
/// Source: Qin et al. 2022, cosFormer: Rethinking Softmax in Attention.
struct Cosformer: HeadMixer {
  static let name = "cosformer"
  static let summary = "linear attention with weights that fall as a cosine of the distance"
  static let demands = groupedTensors
  static let furtherRandomDimensions = groupedRandomDimensions
  static let options: Set<MixerOption> = [.causal, .length]

  let sizes: MixerSizes
  /// Whether a query meets the keys up to its own only.
  let isCausal: Bool
  /// M.
  let length: Int

  /// What a query's weights are at least divided by.
  static let leastSum: Float = 1e-6

  init(
    _ sizes: MixerSizes, present: Set<String>, options: MixerOptions
  ) throws(MixerError) {
    try Self.checkGroups(sizes)
    self.sizes = sizes
    heads = sizes["heads"]
    kvHeads = sizes["kvHeads"]
    d = sizes["headDim"]
    c = sizes["valueHeadDim"]
    isCausal = options.isCausal
    length = options.length ?? max(1, sizes["tokens"])
    guard length >= sizes["tokens"] else {
      throw MixerError(
        "--length is \(length), and there are \(sizes["tokens"]) tokens: weights of tokens that "
          + "are farther apart would be negative; give at least the number of tokens.")
    }
  }

  var inputs: [TensorForm] { Self.forms(sizes, present: []) }
  var outputs: [TensorForm] { [headOutput] }
  var isInOrder: Bool { isCausal }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    let floats = (isCausal ? units : kvUnits) * 2 * d * (c + 1)
    let effect = OuterProductScan<CosformerRows>.effectShare(backward: backward, hasDecay: false)
    return [
      isCausal
        ? .scan(units: units, floats: floats, effect: effect) : .summary(floats: floats)
    ]
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    let products = Double(2 * 2 * d * (c + 1))
    let (all, shared) = (Double(heads) * products, Double(kvHeads) * products)
    return isCausal ? (2 * all, 6 * all) : (all + shared, 2 * all + 2 * shared)
  }
  func keptBytes(tokens: Int) -> Double {
    isCausal ? SharedHeads.bytes(of: inputs, heads: heads, tokens: tokens) : 0
  }

  let heads: Int
  /// Heads of keys and values.
  let kvHeads: Int
  /// Columns of queries and of values.
  let d: Int
  let c: Int
  var units: Int { batch * heads }
  /// Heads of keys and values of all sequences.
  var kvUnits: Int { batch * kvHeads }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = MixerResult()
    let o = result.outputs.addZeros(outputs[0], tokens: line.tokens)
    let sums = MixerTensor(
      zeros: TensorForm(
        name: "sums", dimensions: ["batch", "tokens", "heads"], sizes: [batch, tokens, heads]),
      tokens: line.tokens)
    let rows = CosformerRows(self, x, o: o, sums: sums, on: line)
    if isCausal {
      let scan = OuterProductScan(body: rows, units: units)
      if let carried = try scan.forward(states: nil, keeping: keeping, on: line) {
        result.kept.add(carried)
      }
    } else {
      result.kept.add(try rows.meetAll(on: line))
    }
    result.kept.add(sums)
    return result
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let gradients = zeroGradients(on: line)
    func rows(_ gradients: MixerTensors) -> CosformerRows {
      CosformerRows(
        self, x, o: result.outputs["o"], sums: result.kept["sums"], on: line, gradient: gradient,
        gradients: gradients)
    }
    if isCausal {
      let own = SharedHeads(of: gradients, heads: heads, tokens: line.tokens)
      let scan = OuterProductScan(body: rows(own.tensors), units: units)
      _ = try scan.backward(carried: result.kept["carried"], last: nil, on: line)
      own.addUp(into: gradients, team: line.team)
    } else {
      try rows(gradients).meetAllBackward(result.kept["state"], on: line)
    }
    return gradients
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    guard let q = inputs["q"], let k = inputs["k"], let v = inputs["v"] else { return [:] }
    let compute = tokens > 512 ? referenceCosformerBySums : referenceCosformer
    return ["o": compute(q, k, v, d, Double(length), isCausal)]
  }
}
