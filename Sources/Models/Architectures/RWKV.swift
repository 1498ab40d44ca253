import Compute
import Glibc
import KernelSets
import Mixers
import Tensors

/// RWKV's fourth version: layers that mix time by a mean with decaying weights, and channels, each
/// after a layer norm, of rows and those before them.
///
/// Models are run with rows halved every few layers, lest half precision overflow. Nothing here
/// does, so that rows stay as they are; only what norms add to a variance has to grow instead.
///
/// Source: Peng et al. 2023, RWKV: Reinventing RNNs for the Transformer Era.
enum RWKV: Architecture {
  static let name = "rwkv"

  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder {
    let values = reader.values
    let width = try values.int("embedding_length", in: 1...1 << 20)
    let inner = try values.int("attention_hidden_size", in: 1...1 << 20, default: width)
    let hidden = try values.int("feed_forward_length", in: 1...1 << 24, default: 4 * width)
    let sizes = try reader.sizesWithoutHeads(hidden: max(hidden, width))
    let epsilon = try values.number("attention.layer_norm_epsilon", default: 1e-5)
    let halving = try values.int("rescale_every_n_layers", in: 0...4096, default: 6)
    /// A norm before which rows would have been halved so many layers long.
    func norm(_ epsilon: Double, after layers: Int) -> Normalisation {
      .layer(epsilon: Float(epsilon * pow(4, Double(halving == 0 ? 0 : layers / halving))))
    }
    // The last norm has an epsilon of its own.
    let last = norm(1e-5, after: try reader.layerCount())
    var number = 0
    return try reader.decoder(sizes, outputNorm: last) { prefix throws(TensorFileError) in
      defer { number += 1 }
      let kind = norm(epsilon, after: number)
      func weights(_ name: String) throws(TensorFileError) -> MixerTensor {
        MixerTensor("weights", ["columns": width], try reader.numbers(prefix + name, count: width))
      }
      var mixed: [(name: String, weights: MixerTensor, matrix: StoredMatrix)] = []
      for (name, word) in [("r", "receptance"), ("k", "key"), ("v", "value")] {
        mixed.append(
          (
            name, try weights("time_mix_lerp_\(name)"),
            try reader.matrix(prefix + "time_mix_\(word).weight", outputs: inner, inputs: width)
          ))
      }
      let decay = try reader.numbers(prefix + "time_mix_decay", count: inner)
      return RWKVLayer(
        first: number == 0
          ? try reader.norm(
            prefix + "token_embd_norm", .layer(epsilon: Float(epsilon)), count: width) : nil,
        norm: try reader.norm(prefix + "attn_norm", kind, count: width), mixed: mixed,
        shared: [
          MixerTensor("w", ["channels": inner], decay.map { Float(-exp(Double($0))) }),
          MixerTensor(
            "u", ["channels": inner],
            try reader.numbers(prefix + "time_mix_first", count: inner)),
        ],
        output: try reader.matrix(
          prefix + "time_mix_output.weight", outputs: width, inputs: inner),
        channels: RWKVChannels(
          norm: try reader.norm(prefix + "attn_norm_2", kind, count: width),
          receptance: (
            try weights("channel_mix_lerp_r"),
            try reader.matrix(
              prefix + "channel_mix_receptance.weight", outputs: width, inputs: width)
          ),
          key: (
            try weights("channel_mix_lerp_k"),
            try reader.matrix(prefix + "channel_mix_key.weight", outputs: hidden, inputs: width)
          ),
          value: try reader.matrix(
            prefix + "channel_mix_value.weight", outputs: width, inputs: hidden)))
    }
  }
}
