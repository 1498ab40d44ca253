import Attention
package import Tensors

/// The heads of a branch that select the same rows, and so can be computed as one problem.
///
/// In a segment the selected rows attend to one another like a short dense sequence: row `i` of it
/// is position `segment · segmentLength + offset + i · dilationRate`. Full segments are equally
/// long, and become the sequences of a batch.
package struct DilatedFamily: Hashable, Sendable {
  /// The index of the branch.
  package let branchIndex: Int
  let branch: DilatedBranch
  /// Of the first row of a segment.
  let offset: Int
  /// KV heads of the problem, each read by equally many of ``queryHeads``.
  let kvHeads: [Int]
  /// Query heads of the problem, those of a KV head side by side.
  package let queryHeads: [Int]
  /// Tokens of the sequence.
  let tokens: Int

  /// All families of a pattern: branch by branch, by offset.
  static func all(of pattern: DilatedPattern, shape: AttentionShape, tokens: Int) -> [DilatedFamily]
  {
    pattern.branches.enumerated().flatMap { index, branch in
      // The heads of each KV head at each offset; then KV heads with equally many of them together.
      struct Kind: Hashable {
        let offset: Int
        let heads: Int
      }
      var families: [Kind: (kvHeads: [Int], queryHeads: [Int])] = [:]
      for kvHead in 0..<shape.kvHeads {
        let byOffset = Dictionary(grouping: shape.queryHeads(of: kvHead)) {
          pattern.offset(of: $0, in: branch)
        }
        for (offset, heads) in byOffset {
          families[Kind(offset: offset, heads: heads.count), default: ([], [])].kvHeads.append(
            kvHead)
          families[Kind(offset: offset, heads: heads.count)]?.queryHeads += heads
        }
      }
      return families.sorted { ($0.key.offset, $0.key.heads) < ($1.key.offset, $1.key.heads) }.map {
        DilatedFamily(
          branchIndex: index, branch: branch, offset: $0.key.offset, kvHeads: $0.value.kvHeads,
          queryHeads: $0.value.queryHeads, tokens: tokens)
      }
    }
  }

  /// The segments of the sequence.
  var segmentCount: Int { branch.segmentCount(tokens: tokens) }

  /// The positions of the rows that a segment selects.
  package func rows(of segment: Int) -> PositionRange {
    branch.rows(ofSegment: segment, offset: offset, tokens: tokens)
  }

  /// Segments that have all their tokens, or the single shorter one after them.
  var stretches: [Range<Int>] {
    let full = tokens / branch.segmentLength
    return [0..<full, full..<segmentCount].filter { !$0.isEmpty }
  }

  /// The dimensions of a task, with a sequence for each segment of each sequence of the problem.
  func shape(segments: Int, of whole: AttentionShape) -> AttentionShape {
    AttentionShape(
      batch: segments * whole.batch, queryHeads: queryHeads.count, kvHeads: kvHeads.count,
      headDim: whole.headDim, valueHeadDim: whole.valueHeadDim)
  }
}
