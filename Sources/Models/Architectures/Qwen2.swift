import Compute
import Tensors

/// Qwen 2 and 2.5: Llama with biases of queries, keys and values.
///
/// Source: Yang et al. 2024, Qwen2 Technical Report, section 2.2.
enum Qwen2: Architecture {
  static let name = "qwen2"

  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder {
    let (sizes, norm) = (try reader.sizes(), try reader.rootMeanSquare())
    return try reader.decoder(sizes, outputNorm: norm) {
      _, prefix throws(TensorFileError) in
      let layer = try reader.gatedLayer(prefix, sizes, norm, .silu)
      if layer.projectionBias.isEmpty {
        // Without them it would be another model, and what it says of no use.
        _ = try reader.vector(prefix + "attn_q.bias", count: sizes.queryWidth)
      }
      return layer
    }
  }
}
