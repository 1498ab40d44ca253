/// Models whose layers carry states.
extension TinyModel {
  /// Of Mamba ``hidden`` channels, with as many numbers of a state, of a step size, and taps.
  static let mamba = (states: 5, rank: 32, taps: 4)
  /// Of its second version ``hidden`` channels too, in heads that share B and C in groups.
  static let mamba2 = (states: 5, heads: 6, groups: 2, taps: 4)
  /// Of RWKV's sixth version columns of a head, numbers that decide mixtures and decays, and after
  /// how many layers rows are halved.
  static let rwkv6 = (headDim: 16, few: 32, ofDecay: 32, halving: 2)

  /// Numbers that make such a model; nil for others.
  var stateNumbers: [(name: String, value: Int)]? {
    switch architecture {
    case "mamba":
      [
        ("ssm.inner_size", hidden), ("ssm.state_size", Self.mamba.states),
        ("ssm.time_step_rank", Self.mamba.rank), ("ssm.conv_kernel", Self.mamba.taps),
      ]
    case "mamba2":
      [
        ("ssm.inner_size", hidden), ("ssm.state_size", Self.mamba2.states),
        ("ssm.time_step_rank", Self.mamba2.heads), ("ssm.conv_kernel", Self.mamba2.taps),
        ("ssm.group_count", Self.mamba2.groups),
      ]
    case "rwkv6":
      [
        ("wkv.head_size", Self.rwkv6.headDim), ("time_mix_extra_dim", Self.rwkv6.few),
        ("time_decay_extra_dim", Self.rwkv6.ofDecay),
        ("rescale_every_n_layers", Self.rwkv6.halving),
      ]
    default: nil
    }
  }

  /// Tensors of a layer of such a model; nil of others.
  func stateTensors(_ p: String, isFirst: Bool) -> [GGUFBuilder.Tensor]? {
    switch architecture {
    case "mamba": mambaTensors(p)
    case "mamba2": mamba2Tensors(p)
    case "rwkv6": rwkv6Tensors(p, isFirst: isFirst)
    default: nil
    }
  }

  /// A tensor that is no matrix but has several dimensions, the innermost first.
  private func numbers(
    _ name: String, _ dimensions: Int..., around mean: Float = 0
  ) -> GGUFBuilder.Tensor {
    var tensor = vector(name, dimensions.reduce(1, *), around: mean)
    tensor.dimensions = dimensions.map(UInt64.init)
    return tensor
  }

  private func mambaTensors(_ p: String) -> [GGUFBuilder.Tensor] {
    let (states, rank, taps) = Self.mamba
    return norm(p + "attn_norm") + [
      matrix(p + "ssm_in.weight", 2 * hidden, width),
      numbers(p + "ssm_conv1d.weight", taps, hidden), vector(p + "ssm_conv1d.bias", hidden),
      matrix(p + "ssm_x.weight", rank + 2 * states, hidden),
      matrix(p + "ssm_dt.weight", hidden, rank), vector(p + "ssm_dt.bias", hidden),
      numbers(p + "ssm_a", states, hidden, around: -0.5), vector(p + "ssm_d", hidden),
      matrix(p + "ssm_out.weight", width, hidden),
    ]
  }

  private func mamba2Tensors(_ p: String) -> [GGUFBuilder.Tensor] {
    let (states, heads, groups, taps) = Self.mamba2
    let convolved = hidden + 2 * groups * states
    return norm(p + "attn_norm") + [
      matrix(p + "ssm_in.weight", hidden + convolved + heads, width),
      numbers(p + "ssm_conv1d.weight", taps, convolved), vector(p + "ssm_conv1d.bias", convolved),
      vector(p + "ssm_dt.bias", heads), numbers(p + "ssm_a", 1, heads, around: -0.5),
      numbers(p + "ssm_d", 1, heads, around: 0.5),
      numbers(p + "ssm_norm.weight", hidden / groups, groups, around: 1),
      matrix(p + "ssm_out.weight", width, hidden),
    ]
  }

  private func rwkv6Tensors(_ p: String, isFirst: Bool) -> [GGUFBuilder.Tensor] {
    let (headDim, few, ofDecay, _) = Self.rwkv6
    var decisions = matrix(p + "time_mix_w2.weight", 5 * width, few)
    decisions.dimensions = [few, width, 5].map(UInt64.init)
    var all = (isFirst ? norm(p + "token_embd_norm") : []) + norm(p + "attn_norm")
    all += norm(p + "attn_norm_2") + norm(p + "time_mix_ln")
    all += ["receptance", "key", "value", "gate", "output"].map {
      matrix(p + "time_mix_\($0).weight", width, width)
    }
    all += [
      matrix(p + "time_mix_w1.weight", 5 * few, width), decisions,
      numbers(p + "time_mix_lerp_x.weight", width, 1, 1, around: 0.5),
      numbers(p + "time_mix_lerp_fused.weight", width, 1, 1, 5, around: 0.5),
      numbers(p + "time_mix_first.weight", headDim, width / headDim),
      vector(p + "time_mix_decay.weight", width, around: -1),
      matrix(p + "time_mix_decay_w1.weight", ofDecay, width),
      matrix(p + "time_mix_decay_w2.weight", width, ofDecay),
      numbers(p + "channel_mix_lerp_k.weight", width, 1, 1, around: 0.5),
      numbers(p + "channel_mix_lerp_r.weight", width, 1, 1, around: 0.5),
      matrix(p + "channel_mix_key.weight", hidden, width),
      matrix(p + "channel_mix_value.weight", width, hidden),
      matrix(p + "channel_mix_receptance.weight", width, width),
    ]
    return all
  }
}
