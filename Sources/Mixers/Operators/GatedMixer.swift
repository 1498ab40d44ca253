import AttentionReference
import Compute
import MPI
import Tensors

/// An operator whose state `[headDim, valueHeadDim]` of a head grows by `kᵀ v` at each token, and
/// decays by `e^g`: a value of ``OuterProductScan``.
protocol GatedMixer: HeadMixer {
  /// What the exponents of decays are called.
  static var gate: String { get }
  /// Whether a token reads the state before it has added to it, with a bonus `u` for itself.
  static var hasBonus: Bool { get }
  /// What decays are given for.
  static var gates: ReferenceGatedHead.Gates { get }

  /// What multiplies queries.
  var scale: Float { get }
  /// Whether a state is given.
  var hasState: Bool { get }
  /// Tokens that are laid out side by side at a time; nil is as many as are usual.
  var chunk: Int? { get }
}

extension GatedMixer {
  var chunk: Int? { nil }

  /// The tensors of such an operator.
  ///
  /// - Parameter rows: queries, keys and values.
  static func tensors(_ rows: [TensorDemand], _ gate: TensorDemand) -> [TensorDemand] {
    rows + [gate] + (hasBonus ? [TensorDemand("u", "heads headDim")] : [])
      + [TensorDemand("state", "batch heads headDim valueHeadDim", isOptional: true)]
  }

  var inputs: [TensorForm] { Self.forms(sizes, present: hasState ? ["state"] : []) }
  var outputs: [TensorForm] {
    [headOutput]
      + Self.demands.filter { $0.name == "state" }.map { $0.form(sizes) }
  }
  var isInOrder: Bool { true }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    let (d, c) = (sizes["headDim"], sizes["valueHeadDim"])
    let effect = OuterProductScan<GatedRows>.effectShare(backward: backward, hasDecay: true)
    if !backward { return [.scan(units: units, floats: units * d * c, effect: effect)] }
    // With the gradient of the state a sum for decays; then what all tokens share.
    return [.scan(units: units, floats: units * d * (c + 1), effect: effect)]
      + [Self.gates == .all, Self.hasBonus].filter { $0 }.map { _ in .summary(floats: units * d) }
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    let products = Double(sizes["heads"] * sizes["headDim"] * sizes["valueHeadDim"])
    return (5 * products, 15 * products)
  }

  func keptBytes(tokens: Int) -> Double {
    SharedHeads.bytes(of: inputs, heads: sizes["heads"], tokens: tokens)
  }

  private func scan(_ rows: GatedRows) -> OuterProductScan<GatedRows> {
    OuterProductScan(
      body: rows, units: units, chunk: chunk ?? OuterProductScan<GatedRows>.usualChunk)
  }

  private var units: Int { batch * sizes["heads"] }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = startedScan(x, on: line)
    let (o, state) = (result.outputs["o"], result.outputs["state"])
    let rows = GatedRows(self, x, o: o, tokens: line.tokens)
    let scan = scan(rows)
    if let carried = try scan.forward(states: state, keeping: keeping, on: line) {
      result.kept.add(carried)
    }
    return result
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let gradients = zeroGradients(on: line)
    let own = SharedHeads(of: gradients, heads: sizes["heads"], tokens: line.tokens)
    let rows = GatedRows(self, x, o: gradient, tokens: line.tokens, gradients: own.tensors)
    let scan = scan(rows)
    let states = try scan.backward(
      carried: result.kept["carried"], last: result.outputs["state"], on: line)
    if let first = gradients.find("dstate") {
      let (length, step) = (first.count / units, states.count / units)
      for unit in 0..<units {
        unsafe (first.base + unit * length).update(
          from: states.base + unit * step, count: length)
      }
    }
    own.addUp(into: gradients, team: line.team)
    try rows.combine(on: line)
    return gradients
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    var head = ReferenceGatedHead()
    head.q = (inputs[Self.query] ?? []).map { $0 * Double(scale) }
    head.k = inputs["k"] ?? []
    head.v = inputs["v"] ?? []
    head.g = inputs[Self.gate] ?? []
    head.gates = Self.gates
    head.u = inputs["u"] ?? []
    head.state = inputs["state"] ?? []
    head.headDim = sizes["headDim"]
    head.valueHeadDim = sizes["valueHeadDim"]
    let (o, state) = head.run()
    return ["o": o, "state": state]
  }
}
