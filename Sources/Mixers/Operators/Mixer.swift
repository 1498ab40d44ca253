public import MPI

/// A way to mix a sequence: an operator on sharded tokens.
///
/// A value knows the sizes of one problem. Adding an operator is a file with a type of this kind,
/// its oracle in `AttentionReference`, its page in Docs, and its name in ``MixerCatalog``.
public protocol Mixer: Sendable {
  /// The word on the command line.
  static var name: String { get }

  /// What it computes, in a few words.
  static var summary: String { get }

  /// The tensors that it reads, without the gradient of its output.
  static var demands: [TensorDemand] { get }

  /// The tensors that it reads with some options, where these say which.
  static func demands(for options: MixerOptions) -> [TensorDemand]

  /// The dimensions that `--random` gives the sizes of, joined by `x`.
  static var randomDimensions: [String] { get }

  /// Dimensions that may follow those, with those that they are as large as where they do not.
  static var furtherRandomDimensions: [(name: String, likewise: String)] { get }

  /// The optional tensors that `--random` has.
  static var randomTensors: Set<String> { get }

  /// The dimension along which it computes one part without the others: heads or channels.
  static var unitDimension: String { get }

  /// Half of what the check takes central differences over: less where scores have a kink, since a
  /// difference over one is no derivative.
  static var differenceStep: Double { get }

  /// Which options it takes.
  static var options: Set<MixerOption> { get }

  /// Takes the sizes of a problem.
  ///
  /// - Parameters:
  ///   - sizes: of the tensors that are there.
  ///   - present: the names of the optional tensors that are there.
  ///   - options: what was asked for.
  /// - Throws: a sentence, if no such problem is computed.
  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError)

  /// The sizes of the problem.
  var sizes: MixerSizes { get }

  /// The tensors that it reads, with their sizes.
  var inputs: [TensorForm] { get }

  /// What it computes; the first has the gradient that a backward pass starts from.
  var outputs: [TensorForm] { get }

  /// Whether tokens are met in their order, so that only the contiguous layout is computed.
  var isInOrder: Bool { get }

  /// Whether there is a backward pass.
  var hasGradients: Bool { get }

  /// What ranks exchange in a pass.
  ///
  /// - Parameter threads: the most of any rank.
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange]

  /// Floating-point operations of a pass for one token of one sequence, exponentials as one.
  var flopsPerToken: (forward: Double, backward: Double) { get }

  /// Computes the outputs, called by all ranks together.
  ///
  /// - Parameters:
  ///   - inputs: this rank's parts.
  ///   - keeping: whether a backward pass follows.
  ///   - line: the ranks.
  func forward(
    _ inputs: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult

  /// Computes the gradients of all inputs, each called `d` and the name of the input, called by all
  /// ranks together.
  ///
  /// - Parameters:
  ///   - inputs: this rank's parts.
  ///   - result: of the forward pass.
  ///   - gradient: that of the first output.
  ///   - line: the ranks.
  func backward(
    _ inputs: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors

  /// Bytes of a rank that the passes keep beside inputs, outputs and gradients.
  func keptBytes(tokens: Int) -> Double

  /// The outputs of one unit of one sequence by the oracle, from its part of the inputs in double
  /// precision: dimensions of batch and units are left out, the others are whole.
  func reference(_ inputs: [String: [Double]]) -> [String: [Double]]
}

extension Mixer {
  /// The same with all options.
  public static func demands(for options: MixerOptions) -> [TensorDemand] { demands }

  /// Small, and far from where double precision ends.
  public static var differenceStep: Double { 1e-5 }

  /// None.
  public static var furtherRandomDimensions: [(name: String, likewise: String)] { [] }

  /// None.
  public static var randomTensors: Set<String> { [] }

  /// There is one.
  public var hasGradients: Bool { true }

  /// None that grow with the tokens.
  public func keptBytes(tokens: Int) -> Double { 0 }

  /// Room for the gradients of all inputs.
  func zeroGradients(on line: RankLine) -> MixerTensors {
    var gradients = MixerTensors()
    for form in inputs { _ = gradients.addZeros(form.named("d\(form.name)"), tokens: line.tokens) }
    return gradients
  }

  /// What a scan begins with: room for its outputs, and the state of the inputs, or zeros.
  ///
  /// The last rank ends with the state, and the first with its gradient.
  func startedScan(_ x: MixerTensors, on line: RankLine) -> MixerResult {
    var result = MixerResult()
    _ = result.outputs.addZeros(outputs[0], tokens: line.tokens)
    let state = result.outputs.addZeros(outputs[1], tokens: 0)
    if let first = x.find("state") {
      unsafe state.base.update(from: first.base, count: state.count)
    }
    (result.owner, result.gradientOwner) = (line.lastRank, line.firstRank)
    return result
  }

  /// Tokens of a sequence.
  public var tokens: Int { sizes["tokens"] }

  /// Sequences.
  public var batch: Int { sizes["batch"] }

  /// The forms of the tensors that are there, from what the operator demands.
  static func forms(_ sizes: MixerSizes, present: Set<String>) -> [TensorForm] {
    demands.filter { !$0.isOptional || present.contains($0.name) }.map { $0.form(sizes) }
  }
}

/// What a forward pass leaves.
public struct MixerResult: Sendable {
  /// The outputs by name.
  public var outputs = MixerTensors()
  /// What the backward pass needs besides.
  var kept = MixerTensors()
  /// The rank that has outputs without tokens, such as states.
  public var owner = 0
  /// The rank that has gradients without tokens.
  public var gradientOwner = 0
}

/// A problem that an operator does not compute, in one sentence with the remedy.
public struct MixerError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String

  init(_ description: String) { self.description = description }
}

/// The options that some operators take.
public enum MixerOption: String, Hashable, Sendable, CaseIterable {
  case causal, length, softplus, scale, normalize, variant, chunk, landmarks, newton, normalized
  case temperature, steps, factorize
}

/// What was asked for.
public struct MixerOptions: Hashable, Sendable {
  /// Whether a token meets those before it only.
  public var isCausal = false
  /// The length that weights are scaled to; nil is that of the sequence.
  public var length: Int?
  /// Whether step sizes go through `ln(1 + e^x)`.
  public var softplus = false
  /// What multiplies queries; nil is the operator's own.
  public var scale: Double?

  /// What the weights of ReLU attention are divided by.
  public var normalization = MixerNormalization.length
  /// Which pairs of tokens have a weight of their own in an attention free transformer.
  public var variant = AFTVariant.full
  /// Tokens that are taken at a time as matrix products; nil is the operator's own.
  public var chunk: Int?
  /// Means of tokens that stand for all; nil is the operator's own.
  public var landmarks: Int?
  /// Steps of Newton towards an inverse; nil is the operator's own.
  public var newtonSteps: Int?
  /// Whether an inverse is divided by the roots of row sums.
  public var isNormalized = false
  /// What scores are divided by; nil is the operator's own.
  public var temperature: Double?
  /// How many steps ahead is predicted; nil is as many as there are weights for.
  public var steps: Int?
  /// The rank that a matrix is factorized to; nil takes factors.
  public var factorize: Int?

  /// Nothing.
  public init() {}
}

/// What the weights of ReLU attention are divided by.
public enum MixerNormalization: String, Hashable, Sendable, CaseIterable {
  /// The tokens of the sequence.
  case length
  /// The root of half the keys that a query sees.
  case visible
}
