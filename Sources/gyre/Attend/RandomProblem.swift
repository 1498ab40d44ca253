import ArgumentParser
import Attention
import Reporting
import Tensors

/// The sizes given by `--random BxNxHxKxD` or, with another head dim for values, `BxNxHxKxDxV`.
struct RandomProblem: Hashable {
  let batch: Int
  let tokens: Int
  let queryHeads: Int
  let kvHeads: Int
  let headDim: Int
  let valueHeadDim: Int

  /// Parses five or six sizes joined by `x`.
  init(parsing text: String) throws {
    let sizes = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    let numbers = sizes.compactMap { $0 }
    guard (5...6).contains(numbers.count), sizes.count == numbers.count else {
      throw ValidationError(
        "give batch x tokens x query heads x KV heads x head dim, for example 1x16384x8x2x64, and "
          + "another head dim for values after it if there is one.")
    }
    guard numbers.allSatisfy({ $0 >= 1 }) else {
      throw ValidationError("every size must be at least 1.")
    }
    (batch, tokens, queryHeads, kvHeads, headDim, valueHeadDim) =
      (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[numbers.count - 1])
    guard max(headDim, valueHeadDim) <= AttentionShape.largestHeadDim else {
      throw ValidationError(
        "head dim \(max(headDim, valueHeadDim)) is too large; give one from 1 to "
          + "\(AttentionShape.largestHeadDim).")
    }
    guard queryHeads <= mostHeads else {
      throw ValidationError(
        "\(queryHeads) query heads are too many; give up to \(grouped(mostHeads)).")
    }
    guard queryHeads % kvHeads == 0 else {
      throw ValidationError(
        "\(kvHeads) KV heads do not divide \(queryHeads) query heads; make the query heads a "
          + "multiple of the KV heads.")
    }
    guard
      let q = Shape(validating: [batch, tokens, queryHeads, max(headDim, valueHeadDim)]),
      q.byteCount(.f32) != nil
    else {
      throw ValidationError("the tensors would not fit any address space; make them smaller.")
    }
  }
}
