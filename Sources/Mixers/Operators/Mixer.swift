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

  /// The dimensions that `--random` gives the sizes of, joined by `x`.
  static var randomDimensions: [String] { get }

  /// Dimensions that may follow those, with those that they are as large as where they do not.
  static var furtherRandomDimensions: [(name: String, likewise: String)] { get }

  /// The optional tensors that `--random` has.
  static var randomTensors: Set<String> { get }

  /// The dimension along which it computes one part without the others: heads or channels.
  static var unitDimension: String { get }

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

  /// What ranks exchange in a pass; nil if that is not reckoned.
  ///
  /// - Parameter threads: the most of any rank.
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange]?

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
  /// None.
  public static var furtherRandomDimensions: [(name: String, likewise: String)] { [] }

  /// None.
  public static var randomTensors: Set<String> { [] }

  /// Not reckoned.
  public func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange]? { nil }

  /// None that grow with the tokens.
  public func keptBytes(tokens: Int) -> Double { 0 }

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
  case causal, length, softplus, scale
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

  /// Nothing.
  public init() {}
}
