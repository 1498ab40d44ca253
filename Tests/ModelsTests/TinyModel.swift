import Foundation
import TestSupport

/// A small random model of an architecture, written as a `.gguf` file, with a tokenizer of bytes.
struct TinyModel {
  var architecture = "llama"
  var layers = 3
  var width = 64
  var heads = 6
  var kvHeads = 2
  var headDim = 16
  var hidden = 96
  var base: Float = 500
  var window = 5
  /// The type of matrices: 0 F32, 1 F16, 3 Q4_1, 8 Q8_0, 39 MXFP4, by ggml's numbers.
  var type: UInt32 = 0
  /// That of experts, if it is another.
  var expertType: UInt32?
  /// A stored output, or that of the embedding.
  var isTied = true
  /// Tensors that are left out.
  var without: Set<String> = []
  /// Vectors that are there besides, all their numbers one.
  var extra: [(name: String, count: Int, number: Float)] = []
  /// Numbers that are there besides.
  var numbers: [(name: String, value: Float)] = []

  /// Whether it has a chat template, whose tokens take the places of two bytes that no UTF-8 has.
  var chats = false

  /// Bytes, and one that ends a text.
  static let vocabulary = 257

  /// The epsilon of all norms.
  static let epsilon: Float = 1e-5

  var isGemma: Bool { architecture == "gemma3" }
  var isGPT2: Bool { architecture == "gpt2" }
  var isRWKV: Bool { architecture == "rwkv6" }
  var isGPTOSS: Bool { architecture == "gpt-oss" }
  var hasExperts: Bool { isGPTOSS || architecture == "qwen3moe" }
  /// Experts of a layer, and of a token.
  static let experts = (all: 5, chosen: 2)
  /// YaRN's factor and the length before, in gpt-oss.
  static let yarn = (factor: Float(4), length: 16)

  /// Writes the file.
  func write(to folder: TemporaryFolder, _ name: String = "model.gguf") throws -> String {
    try folder.file(name, GGUFBuilder(values: values, tensors: tensors).bytes)
  }

  // MARK: Values

  private var values: [(name: String, value: GGUFBuilder.Value)] {
    decoderValues + tokenizerValues
  }

  private var decoderValues: [(name: String, value: GGUFBuilder.Value)] {
    func number(_ name: String, _ value: Int) -> (name: String, value: GGUFBuilder.Value) {
      (architecture + "." + name, .uint32(UInt32(value)))
    }
    var values: [(name: String, value: GGUFBuilder.Value)] = [
      ("general.architecture", .string(Array(architecture.utf8))),
      number("block_count", layers), number("embedding_length", width),
      number("feed_forward_length", hidden), number("attention.head_count", heads),
      number("attention.head_count_kv", kvHeads), number("context_length", 512),
    ]
    if let ofStates = stateNumbers {
      values += ofStates.map { number($0.name, $0.value) }
    }
    if isGPT2 || isRWKV {
      values.append((architecture + ".attention.layer_norm_epsilon", .float(Self.epsilon)))
    } else {
      values.append((architecture + ".attention.layer_norm_rms_epsilon", .float(Self.epsilon)))
    }
    if !isGPT2, stateNumbers == nil {
      values.append((architecture + ".rope.freq_base", .float(base)))
      values.append(number("attention.key_length", headDim))
    }
    if isGemma || isGPTOSS { values.append(number("attention.sliding_window", window)) }
    if hasExperts {
      values += [
        number("expert_count", Self.experts.all), number("expert_used_count", Self.experts.chosen),
        number("expert_feed_forward_length", hidden),
      ]
    }
    if isGPTOSS {
      values += [
        (architecture + ".rope.scaling.type", .string(Array("yarn".utf8))),
        (architecture + ".rope.scaling.factor", .float(Self.yarn.factor)),
        number("rope.scaling.original_context_length", Self.yarn.length),
      ]
    }
    return values + numbers.map { (architecture + "." + $0.name, .float($0.value)) }
  }

  private var tokenizerValues: [(name: String, value: GGUFBuilder.Value)] {
    let names: [Int: String] =
      chats ? [254: "<|im_start|>", 255: "<|im_end|>", 256: "<end>"] : [256: "<end>"]
    let tokens = (0..<257).map {
      GGUFBuilder.Value.string(names[$0].map { Array($0.utf8) } ?? Self.letter(of: UInt8($0)))
    }
    let template: [(name: String, value: GGUFBuilder.Value)] = [
      ("tokenizer.chat_template", .string(Array("<|im_start|>{{ text }}<|im_end|>".utf8)))
    ]
    return [
      ("tokenizer.ggml.model", .string(Array("gpt2".utf8))),
      ("tokenizer.ggml.pre", .string(Array("gpt-2".utf8))),
      ("tokenizer.ggml.tokens", .array(8, tokens)),
      ("tokenizer.ggml.token_type", .array(5, (0..<257).map { .int32(names[$0] == nil ? 1 : 3) })),
      ("tokenizer.ggml.merges", .array(8, [])),
      ("tokenizer.ggml.eos_token_id", .uint32(256)),
    ] + (chats ? template : [])
  }

  /// How byte-level tokenizers write a byte: as itself where it can be seen.
  private static func letter(of byte: UInt8) -> [UInt8] {
    func isSeen(_ byte: UInt8) -> Bool {
      (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174
    }
    let scalar =
      isSeen(byte) ? UInt32(byte) : 256 + UInt32((0..<byte).filter { !isSeen($0) }.count)
    return Array(String(Unicode.Scalar(scalar).map(Character.init) ?? "?").utf8)
  }

  // MARK: Tensors

  private var tensors: [GGUFBuilder.Tensor] {
    let (q, k) = (heads * headDim, kvHeads * headDim)
    var all = [matrix("token_embd.weight", Self.vocabulary, width)]
    all += norm("output_norm")
    if !isTied { all.append(matrix("output.weight", Self.vocabulary, width)) }
    if isGPT2 { all.append(matrix("position_embd.weight", 512, width)) }
    for layer in 0..<layers {
      let p = "blk.\(layer)."
      if let ofStates = stateTensors(p, isFirst: layer == 0) {
        all += ofStates
        continue
      }
      all += norm(p + "attn_norm") + norm(p + (isGPTOSS ? "post_attention_norm" : "ffn_norm"))
      if isGPT2 {
        all += [
          matrix(p + "attn_qkv.weight", 3 * width, width), vector(p + "attn_qkv.bias", 3 * width),
          vector(p + "attn_output.bias", width), vector(p + "ffn_up.bias", hidden),
          vector(p + "ffn_down.bias", width),
        ]
      } else {
        all += [
          matrix(p + "attn_q.weight", q, width), matrix(p + "attn_k.weight", k, width),
          matrix(p + "attn_v.weight", k, width),
        ]
      }
      all.append(matrix(p + "attn_output.weight", width, q))
      if hasExperts {
        all += expertTensors(p)
      } else {
        if !isGPT2 { all.append(matrix(p + "ffn_gate.weight", hidden, width)) }
        all += [
          matrix(p + "ffn_up.weight", hidden, width), matrix(p + "ffn_down.weight", width, hidden),
        ]
      }
      if isGPTOSS {
        all += [
          vector(p + "attn_output.bias", width),
          vector(p + "attn_sinks.weight", heads, around: 1, spread: 2),
        ]
      }
      if architecture == "qwen2" || isGPTOSS {
        all += [
          vector(p + "attn_q.bias", q), vector(p + "attn_k.bias", k), vector(p + "attn_v.bias", k),
        ]
      }
      if architecture.hasPrefix("qwen3") || isGemma {
        all += [
          vector(p + "attn_q_norm.weight", headDim, around: 1),
          vector(p + "attn_k_norm.weight", headDim, around: 1),
        ]
      }
      if isGemma {
        all += [
          vector(p + "post_attention_norm.weight", width, around: 1),
          vector(p + "post_ffw_norm.weight", width, around: 1),
        ]
      }
    }
    all += extra.map { name, count, number in
      GGUFBuilder.Tensor(
        name, [UInt64(count)], type: 0, data: (0..<count).flatMap { _ in Self.bytes(number) })
    }
    return all.filter { !without.contains($0.name) }
  }

  private func expertTensors(_ p: String) -> [GGUFBuilder.Tensor] {
    let count = Self.experts.all
    func experts(_ part: String, _ rows: Int, _ columns: Int) -> [GGUFBuilder.Tensor] {
      var weights = matrix(
        p + "ffn_\(part)_exps.weight", count * rows, columns, type: expertType)
      weights.dimensions = [UInt64(columns), UInt64(rows), UInt64(count)]
      if !isGPTOSS { return [weights] }
      // So large that gates and what they multiply meet their clamps.
      var biases = vector(p + "ffn_\(part)_exps.bias", count * rows, spread: 9)
      biases.dimensions = [UInt64(rows), UInt64(count)]
      return [weights, biases]
    }
    return [matrix(p + "ffn_gate_inp.weight", count, width, type: 0)]
      + (isGPTOSS ? [vector(p + "ffn_gate_inp.bias", count)] : [])
      + experts("gate", hidden, width) + experts("up", hidden, width)
      + experts("down", width, hidden)
  }

  func norm(_ name: String) -> [GGUFBuilder.Tensor] {
    [vector(name + ".weight", width, around: 1)]
      + (isGPT2 || isRWKV ? [vector(name + ".bias", width)] : [])
  }

  func vector(
    _ name: String, _ count: Int, around mean: Float = 0, spread: Float = 0.3
  ) -> GGUFBuilder.Tensor {
    var random = Numbers(name)
    let bytes = (0..<count).flatMap { _ in Self.bytes(mean + spread * random.next()) }
    return GGUFBuilder.Tensor(name, [UInt64(count)], type: 0, data: bytes)
  }

  /// Numbers of about `±2/√columns`.
  func matrix(
    _ name: String, _ rows: Int, _ columns: Int, type other: UInt32? = nil
  ) -> GGUFBuilder.Tensor {
    let type = other ?? type
    var random = Numbers(name)
    let size = 2 / Float(columns).squareRoot()
    var bytes: [UInt8] = []
    switch type {
    case 0: for _ in 0..<rows * columns { bytes += Self.bytes(size * random.next()) }
    case 1:
      for _ in 0..<rows * columns {
        let bits = Float16(size * random.next()).bitPattern
        bytes += [UInt8(bits & 255), UInt8(bits >> 8)]
      }
    case 39:
      for _ in 0..<rows * columns / 32 {
        bytes.append(122 + random.byte() % 2)
        for _ in 0..<16 { bytes.append(random.byte()) }
      }
    default:
      for _ in 0..<rows * columns / 32 {
        // A scale, and for Q4_1 an offset; then random integers.
        let scale = Float16(type == 8 ? size / 128 : size / 8).bitPattern
        bytes += [UInt8(scale & 255), UInt8(scale >> 8)]
        if type == 3 {
          let offset = Float16(-size).bitPattern
          bytes += [UInt8(offset & 255), UInt8(offset >> 8)]
        }
        for _ in 0..<(type == 8 ? 32 : 16) { bytes.append(random.byte()) }
      }
    }
    return GGUFBuilder.Tensor(
      name, [UInt64(columns), UInt64(rows)], type: type, data: bytes)
  }

  private static func bytes(_ number: Float) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: number.bitPattern >> (8 * $0)) }
  }

  /// Numbers from −1 to 1 that a name stands for.
  private struct Numbers {
    private var state: UInt64

    init(_ name: String) {
      state = name.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    mutating func byte() -> UInt8 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(state >> 40 & 255)
    }

    mutating func next() -> Float {
      let (a, b) = (Float(byte()), Float(byte()))
      return (a * 256 + b) / 32768 - 1
    }
  }
}
