/// What Hugging Face's models call the tensors that GGUF has other names for.
struct TensorNames {
  /// The architecture, as GGUF calls it.
  let architecture: String

  /// The architecture of a `model_type`, as GGUF calls it; the type itself where GGUF has none.
  static func architecture(ofType type: String) -> String {
    switch type {
    case "mistral", "smollm": "llama"
    case "gemma3_text": "gemma3"
    case "gpt_oss": "gpt-oss"
    case "qwen3_moe": "qwen3moe"
    default: type
    }
  }

  /// The name of a tensor by GGUF's conventions; nil for buffers that are no weights.
  ///
  /// Names that are not known stay as they are.
  func name(_ name: String) -> String? {
    var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    let outer = ["model", "transformer", "language_model", "backbone", "rwkv"]
    while let first = parts.first, outer.contains(first) {
      parts.removeFirst()
    }
    guard parts.count > 1 else { return name }
    var ending = parts.removeLast()
    if architecture == "gpt-oss", ending == "sinks" {
      parts.append(ending)
      ending = "weight"
    }
    if let layers = parts.first, ["layers", "h", "blocks"].contains(layers), parts.count > 2,
      Int(parts[1]) != nil
    {
      let path = parts[2...].joined(separator: ".")
      // Tables that some programs save with the weights.
      if ending == "inv_freq" || path == "attn" && ["bias", "masked_bias"].contains(ending) {
        return nil
      }
      if let whole = Self.wholeNames["\(path).\(ending)"] { return "blk.\(parts[1]).\(whole)" }
      guard let inLayer = inLayer(path) else { return name }
      return "blk.\(parts[1]).\(inLayer).\(ending)"
    }
    return Self.outside[parts.joined(separator: ".")].map { "\($0).\(ending)" } ?? name
  }

  /// Whether a matrix is `[inputs, outputs]`, as those of GPT-2 are, and not `[outputs, inputs]`.
  func isTransposed(_ name: String) -> Bool {
    architecture == "gpt2"
      && ["attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight"]
        .contains { name.hasSuffix(".\($0)") }
  }

  private static let outside = [
    "embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output",
    "head": "output", "ln_out": "output_norm", "embeddings": "token_embd", "norm_f": "output_norm",
    "wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm",
  ]

  /// A part of a layer by GGUF's name.
  private func inLayer(_ path: String) -> String? {
    let hasFourNorms = architecture.hasPrefix("gemma") && architecture != "gemma"
    switch path {
    case "post_attention_layernorm" where hasFourNorms || architecture == "gpt-oss":
      return "post_attention_norm"
    default:
      if let known = Self.inLayer[path] { return known }
      // An expert of many: mlp.experts.7.up_proj.
      let parts = path.split(separator: ".")
      guard parts.count == 4, parts[0] == "mlp", parts[1] == "experts", Int(parts[2]) != nil
      else { return nil }
      return Self.inLayer["mlp.\(parts[3])"].map { "\($0).\(parts[2])" }
    }
  }

  /// Tensors of a layer whose names have no `weight` or `bias` at their end.
  private static let wholeNames = [
    "mixer.A_log": "ssm_a_log", "mixer.D": "ssm_d", "mixer.dt_bias": "ssm_dt.bias",
    "attention.time_decay": "time_mix_decay", "attention.time_first": "time_mix_first",
    "attention.time_mix_receptance": "time_mix_lerp_r",
    "attention.time_mix_key": "time_mix_lerp_k", "attention.time_mix_value": "time_mix_lerp_v",
    "feed_forward.time_mix_receptance": "channel_mix_lerp_r",
    "feed_forward.time_mix_key": "channel_mix_lerp_k",
    "mlp.experts.gate_up_proj": "ffn_gate_up_exps.weight",
    "mlp.experts.gate_up_proj_blocks": "ffn_gate_up_exps.blocks",
    "mlp.experts.gate_up_proj_scales": "ffn_gate_up_exps.scales",
    "mlp.experts.gate_up_proj_bias": "ffn_gate_up_exps.bias",
    "mlp.experts.down_proj": "ffn_down_exps.weight",
    "mlp.experts.down_proj_blocks": "ffn_down_exps.blocks",
    "mlp.experts.down_proj_scales": "ffn_down_exps.scales",
    "mlp.experts.down_proj_bias": "ffn_down_exps.bias",
  ]

  private static let inLayer = [
    "pre_ln": "token_embd_norm", "ln1": "attn_norm", "ln2": "attn_norm_2",
    "attention.receptance": "time_mix_receptance", "attention.key": "time_mix_key",
    "attention.value": "time_mix_value", "attention.output": "time_mix_output",
    "feed_forward.receptance": "channel_mix_receptance", "feed_forward.key": "channel_mix_key",
    "feed_forward.value": "channel_mix_value",
    "norm": "attn_norm", "mixer.in_proj": "ssm_in", "mixer.conv1d": "ssm_conv1d",
    "mixer.norm": "ssm_norm", "mixer.x_proj": "ssm_x", "mixer.dt_proj": "ssm_dt",
    "mixer.out_proj": "ssm_out",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "self_attn.sinks": "attn_sinks",
    "mlp.router": "ffn_gate_inp", "mlp.gate": "ffn_gate_inp", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
  ]
}
