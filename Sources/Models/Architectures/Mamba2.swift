import Compute
import Glibc
import KernelSets
import Mixers
import Tensors

/// Mamba's second version: layers of a scan of heads alone, each with a norm before it and one of
/// what it has read.
///
/// In folders decays are logarithms, in GGUF files negative exponents.
///
/// Source: Dao and Gu 2024, Transformers are SSMs: Generalized Models and Efficient Algorithms
/// Through Structured State Space Duality.
enum Mamba2: Architecture {
  static let name = "mamba2"

  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder {
    let values = reader.values
    try reader.requireActivation(.silu)
    let form = try Form(reader)
    let (inner, convolved, heads) = (form.inner, form.convolved, form.heads)
    let taps = try values.int("ssm.conv_kernel", in: 1...64)
    let limits = try limits(reader)
    let sizes = try reader.sizesWithoutHeads(hidden: inner + convolved)
    let norm = try Mamba.norm(reader)
    return try reader.decoder(sizes, outputNorm: norm) { prefix throws(TensorFileError) in
      func ofHeads(_ name: String) throws(TensorFileError) -> MixerTensor {
        MixerTensor(name, ["heads": heads], try reader.numbers(prefix + name, count: heads))
      }
      let outputs = inner + convolved + heads
      let convolution = try Mamba.convolution(reader, prefix, channels: convolved, taps: taps)
      return Mamba2Layer(
        heads: heads, groups: form.groups, states: form.states,
        norm: try reader.norm(prefix + "attn_norm", norm, count: sizes.width),
        input: try reader.matrix(prefix + "ssm_in.weight", outputs: outputs, inputs: sizes.width),
        inputBias: try reader.vectorIfAny(prefix + "ssm_in.bias", count: outputs),
        convolution: convolution.weight, convolutionBias: convolution.bias,
        steps: HeadSteps(
          bias: try ofHeads("ssm_dt.bias"),
          rates: MixerTensor(
            "a", ["heads": heads], try Mamba.exponents(reader, prefix, heads)),
          skips: try ofHeads("ssm_d"), limits: limits, columns: inner / heads),
        outputNorm: Norm(
          norm, weights: try reader.numbers(prefix + "ssm_norm.weight", count: inner)),
        output: try reader.matrix(prefix + "ssm_out.weight", outputs: sizes.width, inputs: inner),
        outputBias: try reader.vectorIfAny(prefix + "ssm_out.bias", count: sizes.width))
    }
  }

  /// How many there are of what a token has within a layer.
  private struct Form {
    let inner: Int
    let heads: Int
    let groups: Int
    let states: Int
    /// Channels, B and C.
    var convolved: Int { inner + 2 * groups * states }

    init(_ reader: DecoderReader) throws(TensorFileError) {
      let values = reader.values
      // Folders say how many heads there are, and of how many channels; GGUF how many channels.
      let isFolder = values.has("ssm.head_count")
      heads = try values.int(isFolder ? "ssm.head_count" : "ssm.time_step_rank", in: 1...1 << 16)
      inner =
        isFolder
        ? heads * (try values.int("attention.key_length", in: 1...1 << 16))
        : try values.int("ssm.inner_size", in: 1...1 << 24)
      groups = try values.int("ssm.group_count", in: 1...1 << 16, default: 1)
      states = try values.int("ssm.state_size", in: 1...4096)
      guard inner % heads == 0, heads % groups == 0 else {
        throw reader.wrong(
          "ssm.group_count",
          "\(groups) groups and \(heads) heads of \(inner) channels do not divide each other")
      }
    }
  }

  /// What step sizes are kept within.
  private static func limits(
    _ reader: DecoderReader
  ) throws(TensorFileError) -> ClosedRange<Float> {
    let name = "ssm.time_step_limit"
    let limits: [Double] =
      switch reader.values.values[name] {
      case nil: [0, .infinity]
      case .numbers(let numbers): numbers
      case .integers(let numbers): numbers.map(Double.init)
      default: []
      }
    guard limits.count == 2, limits[0] <= limits[1] else {
      throw reader.wrong(name, "step sizes are kept between two numbers")
    }
    return Float(limits[0])...Float(limits[1])
  }
}
