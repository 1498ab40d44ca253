public import Attention

/// What a decoder model asks of ranks, in numbers.
public struct DecoderWork: Hashable, Sendable {
  /// Layers that see alike.
  public struct Layers: Hashable, Sendable {
    /// How many there are.
    public let count: Int
    /// What their queries see.
    public let pattern: PatternChoice
    /// The most keys that a query of theirs sees; nil for all before it.
    public let window: Int?

    /// Describes some layers.
    public init(count: Int, pattern: PatternChoice, window: Int?) {
      self.count = count
      self.pattern = pattern
      self.window = window
    }
  }

  /// Heads and head dim of attention.
  public let shape: AttentionShape
  /// All layers, those that see alike together.
  public let layers: [Layers]
  /// Floating-point operations of all products of a token, logits left out.
  public let productFlops: Double
  /// Those of the logits of a token.
  public let logitFlops: Double
  /// Bytes of weights that a token reads which is generated.
  public let weightBytes: Double
  /// Bytes that the ranks that divide columns exchange for such a token, of all products.
  public let columnBytes: Double
  /// Products of such a token, each with an exchange of its own.
  public let products: Int
  /// The type in which keys and values travel and are kept.
  public let keyValueType: WireType

  /// Describes a model.
  public init(
    shape: AttentionShape, layers: [Layers], productFlops: Double, logitFlops: Double,
    weightBytes: Double, columnBytes: Double, products: Int, keyValueType: WireType
  ) {
    self.shape = shape
    self.layers = layers
    self.productFlops = productFlops
    self.logitFlops = logitFlops
    self.weightBytes = weightBytes
    self.columnBytes = columnBytes
    self.products = products
    self.keyValueType = keyValueType
  }

  /// How many layers there are.
  var layerCount: Int { layers.reduce(0) { $0 + $1.count } }

  /// Floating-point operations of causal attention over a whole sequence, in all layers.
  public func attentionFlops(tokens: Int) -> Double {
    layers.reduce(0) {
      $0 + Double($1.count) * $1.pattern.pairs(tokens: tokens)
        * Double(shape.queryHeads * shape.forwardFlopsPerPair)
    }
  }

  /// Bytes of keys and values that a new token reads, of all ranks.
  func cacheBytes(tokens: Int) -> Double {
    layers.reduce(0) {
      $0 + Double($1.count)
        * Double(
          KeyValueBlock.byteCount(
            keys: min(tokens, $1.window ?? tokens), shape: shape, elementType: keyValueType))
    }
  }
}

/// What a decoder model is expected to take.
public struct DecoderPrediction: Hashable, Sendable {
  /// Ranks that take part.
  public let ranks: Int
  /// Hosts that they are on.
  public let hosts: Int
  /// Of a prompt, or of a token that is generated; the sum of the others.
  public let seconds: Double
  /// Products with weights.
  public let productSeconds: Double
  /// Attention, with the transfers of a prompt's keys and values; or scans, with what ranks wait
  /// for their first states.
  public let attentionSeconds: Double
  /// What ranks exchange besides.
  public let exchangeSeconds: Double
  /// The most that a rank sends.
  public let bytesSentPerRank: Double
}
