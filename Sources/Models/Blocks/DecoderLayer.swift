import Attention
public import KernelSets

/// A layer: attention, then a feed-forward part, each added to what comes in.
///
/// `h = x + post(o · attention(norm(x)))`, `y = h + f(norm(h))`. What an architecture does not have
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
  /// What follows attention.
  var feedForward: any FeedForward

  /// A query sees so many keys up to its own; nil for all.
  public var window: Int?
  /// How positions turn rows in this layer; nil where they do not.
  public var rotation: Decoder.Rotation?

  /// One more logit of each head's softmax, without a value; nil where there is none.
  var learnedSinks: LearnedSinks?

  /// Takes what every layer has.
  init(
    attentionNorm: Norm, projections: [StoredMatrix], output: StoredMatrix, feedForwardNorm: Norm,
    feedForward: any FeedForward
  ) {
    self.attentionNorm = attentionNorm
    self.projections = projections
    self.output = output
    self.feedForwardNorm = feedForwardNorm
    self.feedForward = feedForward
  }

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

  private var attentionMatrices: [StoredMatrix] { projections + [output] }

  /// Bytes of all matrices, as they are stored.
  public var weightBytes: Int { matrices.byteCount }

  /// Bytes of the matrices that a token is multiplied by.
  var multipliedBytes: Int { attentionMatrices.byteCount + feedForward.multipliedBytes }

  /// Numbers of a token that all products have which ranks can share.
  public var productWidth: Int { attentionMatrices.outputs + feedForward.productWidth }

  /// Floating-point operations of all products for one token.
  public var productWork: Int { attentionMatrices.work + feedForward.productWork }

  /// All of them.
  var matrices: [StoredMatrix] { attentionMatrices + feedForward.matrices }
}
