import Attention
import Compute
import KernelSets
import Tensors

/// What all architectures read of a file in the same way.
struct DecoderReader {
  let file: ModelFile
  let taken = TakenTensors()

  init(_ file: ModelFile) { self.file = file }

  var values: Hyperparameters { file.hyperparameters }

  /// How many layers there are.
  func layerCount() throws(TensorFileError) -> Int { try values.int("block_count", in: 1...4096) }

  /// What a file calls each layer's attention; empty if it does not.
  func layerKinds() throws(TensorFileError) -> [String] {
    let (kinds, count) = (try values.strings("attention.layer_types"), try layerCount())
    guard kinds.isEmpty || kinds.count == count else {
      throw wrong("attention.layer_types", "it has \(kinds.count), and not one for each layer")
    }
    return kinds
  }

  /// The dimensions, by the names that nearly all architectures have for them.
  ///
  /// - Parameter name: of the value that says how many hidden numbers there are.
  func sizes(
    hidden name: String = "feed_forward_length"
  ) throws(TensorFileError) -> Decoder.Sizes {
    let width = try values.int("embedding_length", in: 1...1 << 20)
    let heads = try values.int("attention.head_count", in: 1...4096)
    let kvHeads = try values.int("attention.head_count_kv", in: 1...4096, default: heads)
    let headDim = try values.int(
      "attention.key_length", in: 1...AttentionShape.largestHeadDim, default: max(1, width / heads))
    guard heads % kvHeads == 0 else {
      throw wrong(
        "attention.head_count_kv", "\(kvHeads) KV heads do not divide \(heads) query heads")
    }
    let embedding = try tensor("token_embd.weight")
    return Decoder.Sizes(
      width: width, queryHeads: heads, kvHeads: kvHeads, headDim: headDim,
      hidden: try values.int(name, in: 1...1 << 24), vocabulary: embedding.rows,
      trainedLength: try values.int("context_length", in: 1...1 << 40, default: 1 << 20))
  }

  /// The dimensions of a model whose layers have no heads.
  ///
  /// - Parameter hidden: the most numbers of a token within a layer.
  func sizesWithoutHeads(hidden: Int) throws(TensorFileError) -> Decoder.Sizes {
    Decoder.Sizes(
      width: try values.int("embedding_length", in: 1...1 << 20), queryHeads: 1, kvHeads: 1,
      headDim: 1, hidden: hidden, vocabulary: try tensor("token_embd.weight").rows,
      trainedLength: try values.int("context_length", in: 1...1 << 40, default: 1 << 20))
  }

  /// `ε` of root mean square norms.
  func rootMeanSquare() throws(TensorFileError) -> Normalisation {
    .rootMeanSquare(
      epsilon: Float(try values.number("attention.layer_norm_rms_epsilon")))
  }

  /// A tensor, which the model then has.
  func tensor(_ name: String, shape: Shape? = nil) throws(TensorFileError) -> ModelTensor {
    taken.names.insert(name)
    return try file.tensor(name, shape: shape)
  }

  /// A matrix `[outputs, inputs]`.
  func matrix(
    _ name: String, outputs: Int, inputs: Int
  ) throws(TensorFileError) -> StoredMatrix {
    matrix(try tensor(name, shape: [outputs, inputs]))
  }

  /// All rows of a tensor as a matrix.
  func matrix(_ tensor: ModelTensor) -> StoredMatrix {
    if tensor.isCopy { taken.copiedBytes += tensor.byteCount }
    return StoredMatrix(
      type: tensor.type, outputs: tensor.rows, inputs: tensor.columns, memory: tensor.memory)
  }

  /// Matrices `[outputs, inputs]` that lie in one tensor, one after the other.
  func matrices(
    _ name: String, count: Int, outputs: Int, inputs: Int
  ) throws(TensorFileError) -> [StoredMatrix] {
    let all = matrix(try tensor(name, shape: [count, outputs, inputs]))
    return (0..<count).map { all.rows($0 * outputs..<($0 + 1) * outputs) }
  }

  /// A vector.
  func vector(_ name: String, count: Int) throws(TensorFileError) -> [Float] {
    let tensor = try tensor(name, shape: [count])
    var numbers = [Float](repeating: 0, count: count)
    var span = numbers.mutableSpan
    tensor.decode(rows: 0..<1, into: &span)
    return numbers
  }

  /// All numbers of a small tensor, whatever its dimensions are.
  func numbers(_ name: String, count: Int) throws(TensorFileError) -> [Float] {
    let tensor = try tensor(name)
    guard tensor.shape.elementCount == count else {
      throw TensorFileError(
        .wrongShape, path: file.path, tensor: name,
        "its shape is \(tensor.shape), but the model's numbers make it \(count) in all",
        remedy: "convert the model again, or name another file")
    }
    let numbers = tensor.decoded()
    return numbers.span.indices.map { numbers.span[$0] }
  }

  /// A vector that some models of an architecture have; empty for those that do not.
  func vectorIfAny(_ name: String, count: Int) throws(TensorFileError) -> [Float] {
    file.has(name) ? try vector(name, count: count) : []
  }

  /// A norm; its bias where the file has one.
  func norm(
    _ name: String, _ kind: Normalisation, count: Int
  ) throws(TensorFileError) -> Norm {
    let weights = try vector("\(name).weight", count: count)
    return Norm(
      kind, weights: file.normsLackOne ? weights.map { $0 + 1 } : weights,
      bias: try vectorIfAny("\(name).bias", count: count))
  }

  /// Rotary positions as the file describes them.
  ///
  /// - Parameter rounds: whether YaRN rounds where frequencies go over, if the file does not say.
  func rotation(
    headDim: Int, rounds: Bool = true
  ) throws(TensorFileError) -> Decoder.Rotation {
    let columns = try values.int("rope.dimension_count", in: 2...headDim, default: headDim)
    guard columns % 2 == 0 else {
      throw wrong("rope.dimension_count", "\(columns) columns are not pairs")
    }
    return Decoder.Rotation(
      file.rotaryPairs == .neighbours ? .interleaved : .half, columns: columns,
      base: try values.number("rope.freq_base", default: 10_000),
      scaling: try scaling(pairs: columns / 2, rounds: rounds))
  }

  /// How the model's positions reach further than it was trained for at first.
  private func scaling(pairs: Int, rounds: Bool) throws(TensorFileError) -> RotaryScaling {
    let kind = try values.string("rope.scaling.type", default: "none")
    if kind == "none" || kind == "default" { return try storedScaling(pairs: pairs) }
    let factor = try values.number("rope.scaling.factor")
    func trained() throws(TensorFileError) -> Double {
      try values.number("rope.scaling.original_context_length")
    }
    switch kind {
    case "linear": return .linear(factor)
    case "yarn":
      try requireUsualYarn(factor)
      return .yarn(
        factor, trainedLength: try trained(),
        rounds: try values.bool("rope.scaling.truncate", default: rounds))
    case "llama3":
      return .llama3(
        factor, low: try values.number("rope.scaling.low_freq_factor"),
        high: try values.number("rope.scaling.high_freq_factor"), trainedLength: try trained())
    default:
      throw TensorFileError(
        .unsupported, path: file.path,
        "its positions are scaled by \(quoted(kind)), which is not known here",
        remedy: "known are linear, yarn and llama3")
    }
  }

  /// What frequencies are divided by, where the file has it worked out: Llama 3.1's GGUF files.
  private func storedScaling(pairs: Int) throws(TensorFileError) -> RotaryScaling {
    let name = "rope_freqs.weight"
    guard file.has(name) else { return .none }
    let factors = try vector(name, count: pairs).map(Double.init)
    guard factors.allSatisfy({ $0 > 0 && $0.isFinite }) else {
      throw wrong(name, "frequencies are divided by its numbers, and some are not above 0")
    }
    return .longRoPE(
      LongRoPEFactors(short: factors, long: factors, trainedLength: 1, scale: 1, magnitude: 1))
  }

  /// A decoder of layers that `layer` reads, given the place of each and what its names begin with.
  func decoder(
    _ sizes: Decoder.Sizes, outputNorm kind: Normalisation,
    layer: (_ number: Int, _ prefix: String) throws(TensorFileError) -> DecoderLayer
  ) throws(TensorFileError) -> Decoder {
    var layers: [DecoderLayer] = []
    for number in 0..<(try layerCount()) {
      layers.append(try layer(number, "blk.\(number)."))
    }
    return try decoder(sizes, outputNorm: kind, layers: layers)
  }

  private func decoder(
    _ sizes: Decoder.Sizes, outputNorm kind: Normalisation, layers: [DecoderLayer]
  ) throws(TensorFileError) -> Decoder {
    let embedding = try matrix(
      "token_embd.weight", outputs: sizes.vocabulary, inputs: sizes.width)
    let isTied = !file.has("output.weight")
    var decoder = Decoder(
      architecture: file.architecture, sizes: sizes, embedding: embedding, layers: layers,
      outputNorm: try norm("output_norm", kind, count: sizes.width),
      output: isTied
        ? embedding
        : try matrix("output.weight", outputs: sizes.vocabulary, inputs: sizes.width))
    decoder.isTied = isTied
    return decoder
  }

  /// A decoder of layers that carry states, which `layer` reads.
  func decoder(
    _ sizes: Decoder.Sizes, outputNorm kind: Normalisation,
    layer: (_ prefix: String) throws(TensorFileError) -> any StateLayer
  ) throws(TensorFileError) -> Decoder {
    var layers: [any StateLayer] = []
    for number in 0..<(try layerCount()) { layers.append(try layer("blk.\(number).")) }
    var decoder = try decoder(sizes, outputNorm: kind, layers: [])
    decoder.stateLayers = layers
    return decoder
  }

  /// A layer of the descendants of Llama: root mean square norms and separate projections, whose
  /// biases are taken where they are.
  ///
  /// - Parameter norm: what the norm before the feed-forward part is called.
  func layer(
    _ prefix: String, _ sizes: Decoder.Sizes, _ kind: Normalisation,
    feedForwardNorm norm: String = "ffn_norm", rotation: Decoder.Rotation? = nil,
    _ feedForward: any FeedForward
  ) throws(TensorFileError) -> DecoderLayer {
    let width = sizes.width
    var layer = DecoderLayer(
      attentionNorm: try self.norm(prefix + "attn_norm", kind, count: width),
      projections: [
        try matrix(prefix + "attn_q.weight", outputs: sizes.queryWidth, inputs: width),
        try matrix(prefix + "attn_k.weight", outputs: sizes.keyWidth, inputs: width),
        try matrix(prefix + "attn_v.weight", outputs: sizes.keyWidth, inputs: width),
      ],
      output: try matrix(prefix + "attn_output.weight", outputs: width, inputs: sizes.queryWidth),
      feedForwardNorm: try self.norm(prefix + norm, kind, count: width), feedForward: feedForward)
    if file.has(prefix + "attn_q.bias") {
      layer.projectionBias =
        try vector(prefix + "attn_q.bias", count: sizes.queryWidth)
        + vector(prefix + "attn_k.bias", count: sizes.keyWidth)
        + vector(prefix + "attn_v.bias", count: sizes.keyWidth)
    }
    layer.outputBias = try vectorIfAny(prefix + "attn_output.bias", count: width)
    if let rotation {
      layer.rotation = rotation
    } else {
      layer.rotation = try self.rotation(headDim: sizes.headDim)
    }
    return layer
  }

  /// A feed-forward part with a gate.
  func gated(
    _ prefix: String, _ sizes: Decoder.Sizes, _ activation: Activation
  ) throws(TensorFileError) -> DenseFeedForward {
    let (width, hidden) = (sizes.width, sizes.hidden)
    try requireActivation(activation)
    return DenseFeedForward(
      activation: activation,
      gate: try matrix(prefix + "ffn_gate.weight", outputs: hidden, inputs: width),
      up: try matrix(prefix + "ffn_up.weight", outputs: hidden, inputs: width),
      down: try matrix(prefix + "ffn_down.weight", outputs: width, inputs: hidden))
  }

  /// A layer with such a part.
  func gatedLayer(
    _ prefix: String, _ sizes: Decoder.Sizes, _ kind: Normalisation, _ activation: Activation
  ) throws(TensorFileError) -> DecoderLayer {
    try layer(prefix, sizes, kind, gated(prefix, sizes, activation))
  }

  /// What is wrong with a value of the file.
  func wrong(_ name: String, _ problem: String) -> TensorFileError {
    TensorFileError(
      .malformed, path: file.path,
      "its value \(quoted(values.nameInFile(name))) does not fit: \(problem)",
      remedy: "convert the model again, or name another file")
  }
}
