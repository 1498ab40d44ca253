import Compute
import Glibc
import KernelSets
import Mixers
import Tensors

/// RWKV's sixth version: layers that mix time by a state of each head, with decays and mixtures
/// that each token decides, and channels.
///
/// GGUF files have it. Their weights are such that rows are halved every few layers.
///
/// Source: Peng et al. 2024, Eagle and Finch: RWKV with Matrix-Valued States and Dynamic
/// Recurrence.
enum RWKV6: Architecture {
  static let name = "rwkv6"

  /// `ε` of the norm of a head's outputs.
  private static let headEpsilon: Float = 64e-5

  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder {
    let form = try Form(reader)
    let sizes = try reader.sizesWithoutHeads(hidden: max(form.hidden, form.width, 5 * form.few))
    var number = 0
    return try reader.decoder(sizes, outputNorm: form.norm) { prefix throws(TensorFileError) in
      defer { number += 1 }
      return try layer(reader, form, prefix, number)
    }
  }

  /// The numbers that make a layer.
  private struct Form {
    let width: Int
    let headDim: Int
    /// Numbers of a token between the products of channels.
    let hidden: Int
    /// Numbers of a token that decide a mean, and decays.
    let few: Int
    let ofDecay: Int
    /// After how many layers rows are halved; 0 for never.
    let halving: Int
    let norm: Normalisation

    init(_ reader: DecoderReader) throws(TensorFileError) {
      let values = reader.values
      width = try values.int("embedding_length", in: 1...1 << 20)
      headDim = try values.int("wkv.head_size", in: 1...4096)
      hidden = try values.int("feed_forward_length", in: 1...1 << 24)
      few = try values.int("time_mix_extra_dim", in: 1...width)
      ofDecay = try values.int("time_decay_extra_dim", in: 1...width)
      halving = try values.int("rescale_every_n_layers", in: 0...4096, default: 0)
      norm = .layer(
        epsilon: Float(try values.number("attention.layer_norm_epsilon", default: 1e-5)))
      guard width % headDim == 0 else {
        throw reader.wrong("wkv.head_size", "\(headDim) columns do not divide \(width)")
      }
      guard try values.int("token_shift_count", default: 2) == 2 else {
        throw reader.wrong("token_shift_count", "it is 2 here")
      }
    }
  }

  private static func layer(
    _ reader: DecoderReader, _ form: Form, _ prefix: String, _ number: Int
  ) throws(TensorFileError) -> RWKV6Layer {
    let (width, headDim, norm) = (form.width, form.headDim, form.norm)
    func matrix(_ name: String, _ outputs: Int, _ inputs: Int) throws(TensorFileError)
      -> StoredMatrix
    {
      try reader.matrix("\(prefix)\(name).weight", outputs: outputs, inputs: inputs)
    }
    func newerShares(_ name: String) throws(TensorFileError) -> MixerTensor {
      shares(try reader.numbers("\(prefix)\(name).weight", count: width))
    }
    let means = try means(reader, form, prefix)
    return RWKV6Layer(
      first: number == 0
        ? try reader.norm(prefix + "token_embd_norm", norm, count: width) : nil,
      norm: try reader.norm(prefix + "attn_norm", norm, count: width),
      deciding: try newerShares("time_mix_lerp_x"),
      decision: try matrix("time_mix_w1", means.count * form.few, width), means: means,
      decay: try reader.numbers(prefix + "time_mix_decay.weight", count: width),
      bonus: MixerTensor(
        "u", ["heads": width / headDim, "columns": headDim],
        try reader.numbers(prefix + "time_mix_first.weight", count: width)),
      outputNorm: try reader.norm(
        prefix + "time_mix_ln", .layer(epsilon: headEpsilon), count: width),
      output: try matrix("time_mix_output", width, width),
      channels: RWKVChannels(
        norm: try reader.norm(prefix + "attn_norm_2", norm, count: width),
        receptance: (
          try newerShares("channel_mix_lerp_r"), try matrix("channel_mix_receptance", width, width)
        ),
        key: (
          try newerShares("channel_mix_lerp_k"), try matrix("channel_mix_key", form.hidden, width)
        ),
        value: try matrix("channel_mix_value", width, form.hidden)),
      halves: form.halving > 0 && (number + 1) % form.halving == 0)
  }

  /// What the newer row counts for: files say what the older one does.
  private static func shares(_ older: some Collection<Float>) -> MixerTensor {
    MixerTensor("weights", ["columns": older.count], older.map { 1 - $0 })
  }

  private static func means(
    _ reader: DecoderReader, _ form: Form, _ prefix: String
  ) throws(TensorFileError) -> [RWKV6Layer.Mean] {
    let width = form.width
    let names = ["w", "k", "v", "r", "g"]
    func matrix(_ name: String) throws(TensorFileError) -> [StoredMatrix] {
      [try reader.matrix("\(prefix)time_mix_\(name).weight", outputs: width, inputs: width)]
    }
    let ofDecays = [
      try reader.matrix(
        prefix + "time_mix_decay_w1.weight", outputs: form.ofDecay, inputs: width),
      try reader.matrix(
        prefix + "time_mix_decay_w2.weight", outputs: width, inputs: form.ofDecay),
    ]
    let matrices = [
      ofDecays, try matrix("key"), try matrix("value"), try matrix("receptance"),
      try matrix("gate"),
    ]
    let older = try olderShares(reader, prefix, names, width)
    let decisions = try reader.matrices(
      prefix + "time_mix_w2.weight", count: names.count, outputs: width, inputs: form.few)
    return names.indices.map { index in
      RWKV6Layer.Mean(
        name: names[index], weights: shares(older[index * width..<(index + 1) * width]),
        decision: decisions[index], matrices: matrices[index])
    }
  }

  /// What the older row counts for in each mean: one tensor, or in older files one for each.
  private static func olderShares(
    _ reader: DecoderReader, _ prefix: String, _ names: [String], _ width: Int
  ) throws(TensorFileError) -> [Float] {
    let all = prefix + "time_mix_lerp_fused.weight"
    if reader.file.has(all) { return try reader.numbers(all, count: names.count * width) }
    var shares: [Float] = []
    for name in names {
      shares += try reader.numbers("\(prefix)time_mix_lerp_\(name).weight", count: width)
    }
    return shares
  }
}
