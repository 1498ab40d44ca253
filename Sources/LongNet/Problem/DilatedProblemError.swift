import Attention

/// Dilated attention that cannot be described.
public struct DilatedProblemError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong and what to do, in one sentence.
  public let description: String

  init(_ description: String) {
    self.description = description
  }
}

extension DilatedPattern {
  /// Refuses what could not be counted: pairs, and the bytes of the rows that they are between, are
  /// integers everywhere.
  init(
    checking branches: [DilatedBranch], headOffset: HeadOffset, isCausal: Bool,
    shape: AttentionShape, tokens: Int
  ) throws(DilatedProblemError) {
    guard !branches.isEmpty else {
      throw DilatedProblemError("Dilated attention has no branches; give at least one.")
    }
    let heads = Double(shape.queryHeads) * Double(shape.batch)
    let bytesPerRow = Double(4 * (2 * (shape.headDim + shape.valueHeadDim) + 3))
    let (pairs, rows) = branches.reduce((0.0, 0.0)) { sum, branch in
      let length = Double(min(branch.segmentLength, max(1, tokens)))
      let rows = (length / Double(branch.dilationRate)).rounded(.up)
      let segments = (Double(tokens) / length).rounded(.up)
      return (sum.0 + segments * rows * rows * heads, sum.1 + segments * rows * heads)
    }
    guard max(pairs, rows * bytesPerRow) < 0x1p61 else {
      throw DilatedProblemError(
        "The branches let more pairs of \(tokens) tokens see each other than can be counted; give "
          + "shorter segments, higher dilation rates or fewer tokens.")
    }
    self.init(
      branches: branches, headOffset: headOffset, queryHeads: shape.queryHeads, isCausal: isCausal)
  }
}
