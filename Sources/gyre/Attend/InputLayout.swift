import ArgumentParser
import Attention
import Tensors

/// The order of dimensions of the tensors in files: batch, sequence (tokens), heads, head dim, or
/// heads before the sequence, as PyTorch's attention has them.
enum InputLayout: String, CaseIterable, ExpressibleByArgument {
  case bshd, bhsd

  /// A tensor of a file as `[batch, tokens, heads, headDim]`.
  func view(_ source: TensorSource) -> TensorSource {
    self == .bshd ? source : source.permuted([0, 2, 1, 3])
  }

  /// The shape that a tensor `[batch, tokens, heads, headDim]` has in a file.
  func fileShape(_ shape: Shape) -> Shape {
    self == .bshd ? shape : [shape[0], shape[2], shape[1], shape[3]]
  }

  /// The other order.
  var other: InputLayout { self == .bshd ? .bhsd : .bshd }

  /// Its dimensions, for sentences.
  var dimensions: String {
    self == .bshd ? "[batch, tokens, heads, headDim]" : "[batch, heads, tokens, headDim]"
  }
}

extension AttentionInput {
  /// A sentence where the tensors look as if they had heads and tokens the other way round.
  ///
  /// The keys decide: a step of decoding has one query of many heads. No model has so many KV heads
  /// for so few keys.
  var layoutNote: String? {
    guard isLayoutAssumed, keyTokens > 0, shape.kvHeads >= 16, shape.kvHeads >= 4 * keyTokens else {
      return nil
    }
    return "k is read as \(keyTokens) tokens of \(shape.kvHeads) heads, in the order "
      + "\(InputLayout.bshd.dimensions); if it is \(InputLayout.bhsd.dimensions), give "
      + "--input-layout bhsd, and if not, --input-layout bshd, which ends this note."
  }
}
