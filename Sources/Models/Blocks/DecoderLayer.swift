public import Compute
public import KernelSets

/// A layer: attention, then a feed-forward part, each added to what comes in.
///
/// `h = x + post(o · attention(norm(x)))`, `y = h + post(down · f(norm(h)))`, where `f(n)` is
/// `act(gate · n) ∘ (up · n)`, or `act(up · n)` without a gate. What an architecture does not have
/// is nil or empty.
public struct DecoderLayer: Sendable {
  /// Before attention.
  public var attentionNorm: Norm
  /// Of queries, keys and values, one after the other, in one matrix or three.
  public var projections: [StoredMatrix]
  /// Likewise, or empty.
  public var projectionBias: [Float] = []
  /// Of each head of the queries, before they are turned.
  public var queryNorm: Norm?
  /// Of each head of the keys.
  public var keyNorm: Norm?
  /// `[width, queryWidth]`.
  public var output: StoredMatrix
  /// Of the output of attention, or empty.
  public var outputBias: [Float] = []
  /// Of what attention adds; nil where there is none.
  public var postAttentionNorm: Norm?

  /// Before the feed-forward part.
  public var feedForwardNorm: Norm
  /// What the hidden numbers, or their gates, go through.
  public var activation: Activation
  /// `[hidden, width]`; nil for a part without a gate.
  public var gate: StoredMatrix?
  /// `[hidden, width]`.
  public var up: StoredMatrix
  /// Of the hidden numbers, or empty.
  public var upBias: [Float] = []
  /// `[width, hidden]`.
  public var down: StoredMatrix
  /// Of what the feed-forward part adds, or empty.
  public var downBias: [Float] = []
  /// Of what the feed-forward part adds; nil where there is none.
  public var postFeedForwardNorm: Norm?

  /// A query sees so many keys up to its own; nil for all.
  public var window: Int?
  /// How positions turn rows in this layer; nil where they do not.
  public var rotation: Decoder.Rotation?

  /// Takes what every layer has.
  public init(
    attentionNorm: Norm, projections: [StoredMatrix], output: StoredMatrix, feedForwardNorm: Norm,
    activation: Activation, gate: StoredMatrix?, up: StoredMatrix, down: StoredMatrix
  ) {
    self.attentionNorm = attentionNorm
    self.projections = projections
    self.output = output
    self.feedForwardNorm = feedForwardNorm
    self.activation = activation
    self.gate = gate
    self.up = up
    self.down = down
  }

  /// What is multiplied by in the feed-forward part first.
  var expanding: [StoredMatrix] { (gate.map { [$0] } ?? []) + [up] }

  /// Some outputs of the projections of queries, keys and values.
  func projections(_ outputs: Range<Int>) -> [StoredMatrix] {
    var first = 0
    return projections.compactMap { matrix in
      defer { first += matrix.outputs }
      let range = outputs.clamped(to: first..<first + matrix.outputs)
      if range.isEmpty { return nil }
      return matrix.rows(range.lowerBound - first..<range.upperBound - first)
    }
  }

  /// Bytes of all matrices, as they are stored.
  public var weightBytes: Int { matrices.reduce(0) { $0 + $1.byteCount } }

  /// Numbers of a token that all products have.
  public var productWidth: Int { matrices.reduce(0) { $0 + $1.outputs } }

  /// Floating-point operations of all products for one token.
  public var productWork: Int { matrices.reduce(0) { $0 + 2 * $1.inputs * $1.outputs } }

  /// All of them.
  var matrices: [StoredMatrix] { projections + [output] + expanding + [down] }
}
