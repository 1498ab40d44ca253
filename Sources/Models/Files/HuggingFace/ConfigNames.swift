import Reporting

/// What `config.json` calls the values that GGUF has other names for.
enum ConfigNames {
  /// GGUF's names, and those that models of Hugging Face have for them, the first that is there.
  private static let names: [(name: String, inConfig: [String])] = [
    ("block_count", ["num_hidden_layers", "n_layer"]),
    ("embedding_length", ["hidden_size", "n_embd"]),
    ("feed_forward_length", ["intermediate_size", "n_inner"]),
    ("attention.head_count", ["num_attention_heads", "n_head"]),
    ("attention.head_count_kv", ["num_key_value_heads"]),
    ("attention.key_length", ["head_dim"]),
    ("attention.value_length", ["head_dim"]),
    ("attention.layer_norm_rms_epsilon", ["rms_norm_eps"]),
    ("attention.layer_norm_epsilon", ["layer_norm_epsilon"]),
    ("attention.sliding_window", ["sliding_window"]),
    ("attention.sliding_window_pattern", ["sliding_window_pattern"]),
    ("attention.layer_types", ["layer_types"]),
    ("expert_count", ["num_local_experts", "num_experts"]),
    ("expert_used_count", ["num_experts_per_tok", "experts_per_token"]),
    ("expert_feed_forward_length", ["moe_intermediate_size"]),
    ("expert_weights_norm", ["norm_topk_prob"]),
    ("swiglu_alpha", ["swiglu_alpha"]), ("swiglu_limit", ["swiglu_limit"]),
    ("attention.query_pre_attn_scalar", ["query_pre_attn_scalar"]),
    ("attn_logit_softcapping", ["attn_logit_softcapping"]),
    ("final_logit_softcapping", ["final_logit_softcapping"]),
    ("rope.freq_base", ["rope_theta"]),
    ("rope.freq_base_swa", ["rope_local_base_freq"]),
    ("context_length", ["max_position_embeddings", "n_positions", "n_ctx", "context_length"]),
    ("attention_hidden_size", ["attention_hidden_size"]),
    ("rescale_every_n_layers", ["rescale_every"]),
    ("ssm.inner_size", ["intermediate_size"]),
    ("ssm.state_size", ["state_size"]),
    ("ssm.time_step_rank", ["time_step_rank"]),
    ("ssm.conv_kernel", ["conv_kernel"]),
    ("ssm.head_count", ["num_heads"]),
    ("ssm.group_count", ["n_groups"]),
    ("ssm.time_step_limit", ["time_step_limit"]),
    ("vocab_size", ["vocab_size"]),
    ("tie_word_embeddings", ["tie_word_embeddings"]),
    ("hidden_act", ["hidden_act", "hidden_activation", "activation_function"]),
  ]

  /// The same for `rope_scaling` and `rope_parameters`.
  private static let rotaryNames: [(name: String, inConfig: [String])] = [
    ("rope.freq_base", ["rope_theta"]),
    ("rope.scaling.type", ["rope_type", "type"]),
    ("rope.scaling.factor", ["factor"]),
    ("rope.scaling.original_context_length", ["original_max_position_embeddings"]),
    ("rope.scaling.low_freq_factor", ["low_freq_factor"]),
    ("rope.scaling.high_freq_factor", ["high_freq_factor"]),
    ("rope.scaling.yarn_beta_fast", ["beta_fast"]),
    ("rope.scaling.yarn_beta_slow", ["beta_slow"]),
    ("rope.scaling.attn_factor", ["attention_factor"]),
    ("rope.scaling.truncate", ["truncate"]),
  ]

  /// The values of a `config.json` by GGUF's names, and what the file calls them.
  static func values(
    _ config: JSONValue
  ) -> (values: [String: GGUFValue], namesInFile: [String: String]) {
    var values: [String: GGUFValue] = [:]
    var namesInFile: [String: String] = [:]
    for (name, inConfig) in names { namesInFile[name] = inConfig[0] }
    func take(
      _ names: [(name: String, inConfig: [String])], _ object: JSONValue, _ path: String
    ) {
      for (name, inConfig) in names where values[name] == nil {
        guard let key = inConfig.first(where: { object[$0] != nil }),
          let value = object[key].flatMap(value)
        else { continue }
        values[name] = value
        namesInFile[name] = path + key
      }
    }
    take(names, config, "")
    for key in ["rope_scaling", "rope_parameters"] {
      guard let rotary = config[key] else { continue }
      // Models whose layers differ have such an object for each kind of layer.
      let general = rotary["full_attention"]
      take(rotaryNames, general ?? rotary, general == nil ? "\(key)." : "\(key).full_attention.")
      if let local = rotary["sliding_attention"] {
        take(
          [("rope.freq_base_swa", ["rope_theta"])], local, "\(key).sliding_attention.")
      }
    }
    // Qwen's say how wide a window would be that no layer has.
    if config["use_sliding_window"] == .bool(false) { values["attention.sliding_window"] = nil }
    if values["feed_forward_length"] == nil, case .integer(let width)? = values["embedding_length"],
      config["n_embd"] != nil,
      let (product, overflow) = Optional(
        width.multipliedReportingOverflow(by: 4)), !overflow
    {
      // GPT-2's leave it out where it is this.
      values["feed_forward_length"] = .integer(product)
    }
    return (values, namesInFile)
  }

  /// A value as GGUF would have it; nil for null and what GGUF has no values for.
  private static func value(_ json: JSONValue) -> GGUFValue? {
    switch json {
    case .bool(let bool): return .bool(bool)
    case .integer(let number): return .integer(number)
    case .unsigned(let number): return .unsigned(number)
    case .number(let number): return .number(number)
    case .string(let string): return .string(string)
    case .null, .object: return nil
    case .array(let elements):
      let texts = elements.compactMap(\.string)
      if !texts.isEmpty, texts.count == elements.count { return .strings(StringTable(texts)) }
      let integers = elements.compactMap(\.int)
      if integers.count == elements.count { return .integers(integers) }
      let numbers = elements.compactMap(number)
      return numbers.count == elements.count ? .numbers(numbers) : nil
    }
  }

  /// A number, infinity among them, for which JSON has no word.
  private static func number(_ json: JSONValue) -> Double? {
    json.double ?? json["__float__"]?.string.flatMap { Double($0.lowercased()) }
  }
}
