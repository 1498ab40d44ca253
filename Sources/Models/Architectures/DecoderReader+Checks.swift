import Compute
import Glibc
import Tensors

/// Tensors that a model has asked for.
final class TakenTensors {
  var names: Set<String> = []
  /// Of those that are copies.
  var copiedBytes = 0
}

/// What a file says beyond what is computed here: it is refused, since the model would be another
/// one without it.
extension DecoderReader {
  /// Refuses tensors that the architecture has no use for.
  func requireAllTaken() throws(TensorFileError) {
    guard let rest = file.tensors.first(where: { !taken.names.contains($0.name) }) else { return }
    throw TensorFileError(
      .unsupported, path: file.path, tensor: rest.name,
      "models of \(file.architecture) have no use for it here, and without it this would be "
        + "another model", remedy: "name another file")
  }

  /// Refuses functions of the hidden numbers by their names in a folder's configuration.
  func requireActivation(_ activation: Activation) throws(TensorFileError) {
    let known =
      switch activation {
      case .silu, .clampedSilu: ["silu", "swish"]
      // Both are the approximation by tanh.
      case .gelu: ["gelu_pytorch_tanh", "gelu_new"]
      }
    let name = try values.string("hidden_act", default: known[0])
    guard known.contains(name) else {
      throw wrong(
        "hidden_act", "of \(file.architecture) it is \(known[0]) here, and not \(quoted(name))")
    }
  }

  /// Refuses caps of scores and logits, which no architecture here has.
  func requireNoCaps() throws(TensorFileError) {
    for name in ["attn_logit_softcapping", "final_logit_softcapping"] {
      let cap = try values.number(name, default: 0)
      guard cap == 0 else { throw wrong(name, "caps are not computed here, and it is \(cap)") }
    }
  }

  /// Refuses forms of YaRN that differ from the published one.
  ///
  /// - Parameter factor: how many times as far positions reach.
  func requireUsualYarn(_ factor: Double) throws(TensorFileError) {
    // In GGUF it multiplies the published one, in folders it takes its place.
    let magnitude =
      if case .gguf = file.source { 1.0 } else { factor > 1 ? 0.1 * log(factor) + 1 : 1 }
    for (name, usual) in [
      ("yarn_beta_fast", 32), ("yarn_beta_slow", 1), ("attn_factor", magnitude),
    ] {
      let value = try values.number("rope.scaling." + name, default: usual)
      guard abs(value - usual) <= 1e-6 * usual else {
        throw wrong("rope.scaling." + name, "YaRN has \(usual) here, and it is \(value)")
      }
    }
  }
}
