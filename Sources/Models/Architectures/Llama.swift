import Compute
import Tensors

/// Llama, and what is built like it: SmolLM, Mistral, TinyLlama.
///
/// Root mean square norms, rotary positions, grouped queries, SwiGLU.
///
/// Source: Touvron et al. 2023, LLaMA, section 2.2.
enum Llama: Architecture {
  static let name = "llama"

  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder {
    let (sizes, norm) = (try reader.sizes(), try reader.rootMeanSquare())
    let window = try reader.values.int("attention.sliding_window", in: 0...1 << 40, default: 0)
    return try reader.decoder(sizes, outputNorm: norm) {
      _, prefix throws(TensorFileError) in
      var layer = try reader.gatedLayer(prefix, sizes, norm, .silu)
      if window > 0 { layer.window = window }
      return layer
    }
  }
}
