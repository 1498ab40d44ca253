import ArgumentParser
import Attention
import Tensors

/// The sizes given by `--random BxNxHxKxD`.
struct RandomProblem: Hashable {
  let batch: Int
  let tokens: Int
  let queryHeads: Int
  let kvHeads: Int
  let headDim: Int

  /// `[batch, tokens, queryHeads, headDim]`.
  var queryShape: Shape { [batch, tokens, queryHeads, headDim] }

  /// `[batch, tokens, kvHeads, headDim]`.
  var keyShape: Shape { [batch, tokens, kvHeads, headDim] }

  /// Parses five sizes joined by `x`.
  init(parsing text: String) throws {
    let sizes = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    let numbers = sizes.compactMap { $0 }
    guard numbers.count == 5, sizes.count == 5 else {
      throw ValidationError(
        "give batch x tokens x query heads x KV heads x head dim, for example 1x16384x8x2x64.")
    }
    guard numbers.allSatisfy({ $0 >= 1 }) else {
      throw ValidationError("every size must be at least 1.")
    }
    (batch, tokens, queryHeads, kvHeads, headDim) =
      (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4])
    guard headDim <= AttentionShape.largestHeadDim else {
      throw ValidationError(
        "head dim \(headDim) is too large; the largest is \(AttentionShape.largestHeadDim).")
    }
    guard queryHeads % kvHeads == 0 else {
      throw ValidationError(
        "\(kvHeads) KV heads do not divide \(queryHeads) query heads; make the query heads a "
          + "multiple of the KV heads.")
    }
    guard let q = Shape(validating: [batch, tokens, queryHeads, headDim]),
      q.byteCount(.f32) != nil
    else {
      throw ValidationError("the tensors would not fit any address space; make them smaller.")
    }
  }
}
