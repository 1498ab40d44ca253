public import Attention
public import KernelSets

/// A decoder-only transformer: what its layers do, and the weights that they do it with, which stay
/// in their file.
///
/// An architecture is a way to fill this in, in a file of its own; all that computes reads this
/// alone.
public struct Decoder: Sendable {
  /// The dimensions.
  public struct Sizes: Hashable, Sendable {
    /// Numbers of a token between layers.
    public var width: Int
    /// Heads of queries.
    public var queryHeads: Int
    /// Heads of keys and values, which divide them.
    public var kvHeads: Int
    /// Columns of a head.
    public var headDim: Int
    /// Numbers of a token within a feed-forward layer, or within one of its experts.
    public var hidden: Int
    /// Experts of a layer; 0 where it has none.
    public var experts = 0
    /// Experts that a token goes to.
    public var expertsOfToken = 0
    /// Tokens that there are.
    public var vocabulary: Int
    /// Positions that the model was trained with.
    public var trainedLength: Int

    /// Takes the dimensions.
    public init(
      width: Int, queryHeads: Int, kvHeads: Int, headDim: Int, hidden: Int, vocabulary: Int,
      trainedLength: Int
    ) {
      self.width = width
      self.queryHeads = queryHeads
      self.kvHeads = kvHeads
      self.headDim = headDim
      self.hidden = hidden
      self.vocabulary = vocabulary
      self.trainedLength = trainedLength
    }

    /// Numbers of all queries of a token.
    public var queryWidth: Int { queryHeads * headDim }
    /// Numbers of all keys, or values, of a token.
    public var keyWidth: Int { kvHeads * headDim }
  }

  /// How rows are turned by their positions.
  public struct Rotation: Hashable, Sendable {
    /// Which columns are turned together.
    public var pairing: RotaryPositions.Pairing
    /// Turned columns of a head, the first ones.
    public var columns: Int
    /// b, of which frequencies are powers.
    public var base: Double
    /// How they reach further than the model was trained for.
    public var scaling: RotaryScaling

    /// Takes the form and the numbers.
    public init(
      _ pairing: RotaryPositions.Pairing, columns: Int, base: Double,
      scaling: RotaryScaling = .none
    ) {
      self.pairing = pairing
      self.columns = columns
      self.base = base
      self.scaling = scaling
    }

    /// What turns rows of a sequence.
    ///
    /// - Parameter tokens: its length, on which some scalings depend.
    public func positions(tokens: Int) -> RotaryPositions {
      RotaryPositions(pairing, columns: columns, base: base, scaling: scaling, tokens: tokens)
    }
  }

  /// The name of the architecture.
  public var architecture: String
  /// The dimensions.
  public var sizes: Sizes
  /// `[vocabulary, width]`.
  public var embedding: StoredMatrix
  /// What rows of the embedding are multiplied by.
  public var embeddingScale: Float = 1
  /// `[trainedLength, width]`, added to the embedding of the token at a position; nil where
  /// positions are turned.
  public var positionEmbedding: StoredMatrix?
  /// One after the other.
  public var layers: [DecoderLayer]
  /// One after the other, in models whose layers carry a state and have no attention.
  var stateLayers: [any StateLayer] = []
  /// Before the output.
  public var outputNorm: Norm
  /// `[vocabulary, width]`, which may be the embedding.
  public var output: StoredMatrix
  /// Multiplies `q·k`.
  public var scale: Double

  /// Takes what every decoder has.
  public init(
    architecture: String, sizes: Sizes, embedding: StoredMatrix, layers: [DecoderLayer],
    outputNorm: Norm, output: StoredMatrix
  ) {
    self.architecture = architecture
    self.sizes = sizes
    self.embedding = embedding
    self.layers = layers
    self.outputNorm = outputNorm
    self.output = output
    scale = 1 / Double(sizes.headDim).squareRoot()
  }

  /// The shape of attention in each layer.
  public var attentionShape: AttentionShape {
    AttentionShape(
      batch: 1, queryHeads: sizes.queryHeads, kvHeads: sizes.kvHeads, headDim: sizes.headDim,
      valueHeadDim: sizes.headDim)
  }

  /// Bytes of all matrices, as they are stored.
  public var weightBytes: Int {
    let matrices =
      layers.reduce(0) { $0 + $1.weightBytes } + stateLayers.reduce(0) { $0 + $1.weightBytes }
      + embedding.byteCount + (positionEmbedding?.byteCount ?? 0)
    return isTied ? matrices : matrices + output.byteCount
  }

  /// Bytes of matrices that are copies in this process's own memory, since its file has them in
  /// another form.
  public internal(set) var copiedBytes = 0

  /// The same where ranks of a host share such copies.
  public func sharingCopies() -> Decoder {
    var decoder = self
    decoder.copiedBytes = 0
    return decoder
  }

  /// Bytes of the matrices that a token is multiplied by, its logits among the products: all but an
  /// embedding that is nothing else, and experts that it does not go to.
  public var multipliedBytes: Int {
    layers.reduce(0) { $0 + $1.multipliedBytes } + stateLayers.reduce(0) { $0 + $1.weightBytes }
      + output.byteCount
  }

  /// Whether layers carry states, and keep no keys and values.
  public var carriesState: Bool { !stateLayers.isEmpty }

  /// How many layers there are.
  public var layerCount: Int { layers.count + stateLayers.count }

  /// Bytes of the states of a sequence, however long it is.
  public var stateBytes: Int { stateLayers.reduce(0) { $0 + 4 * $1.stateCount } }

  /// Floating-point operations of a rank's part of a causal pass over a sequence, logits left out.
  ///
  /// - Parameter window: the most keys that a query sees in any layer; nil for what the model says.
  public func prefillWork(tokens: Int, ranks: Int, window: Int? = nil) -> Int {
    let products =
      layers.reduce(0) { $0 + $1.productWork } + stateLayers.reduce(0) { $0 + $1.work }
    // Of a query and all keys up to its own, or as many as a window shows.
    let pairs = layers.reduce(0.0) { sum, layer in
      let width = min(tokens, layer.window ?? tokens, window ?? tokens)
      return sum + Double(width) * (Double(tokens) - Double(width - 1) / 2)
    }
    let scores = pairs * Double(4 * sizes.headDim * sizes.queryHeads)
    return Int((Double(products) * Double(tokens) + scores) / Double(ranks))
  }

  /// The longest sequence that positions are learned for; nil where they are turned.
  public var mostPositions: Int? { positionEmbedding?.outputs }

  /// Whether the embedding is the output's matrix too.
  public var isTied = false

  /// Numbers of all matrices.
  public var parameters: Int {
    let matrices = (layers.map(\.matrices) + stateLayers.map(\.matrices)).joined().parameters
    let one = sizes.vocabulary * sizes.width
    return matrices + (isTied ? one : 2 * one)
  }
}

/// A normalisation with its weights.
public struct Norm: Sendable {
  /// What is done before the weights.
  public var kind: Normalisation
  /// One for each column.
  public var weights: [Float]
  /// Likewise, or none.
  public var bias: [Float]

  /// Takes the weights.
  public init(_ kind: Normalisation, weights: [Float], bias: [Float] = []) {
    self.kind = kind
    self.weights = weights
    self.bias = bias
  }
}
