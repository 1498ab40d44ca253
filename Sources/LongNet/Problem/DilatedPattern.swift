public import Attention
import Glibc
public import Tensors

/// Dilated attention as a pattern of dense attention: softmax over the keys that a query shares a
/// branch with, each as often as it does.
///
/// Query `i` of head `h` is selected by a branch where `(i mod segmentLength) mod dilationRate` is
/// the head's offset; it sees the selected keys of its segment, up to itself if causal. Branches
/// are merged by their softmax denominators, which is one softmax over scores to which the
/// logarithm of the number of branches is added: that is what ``fill(_:keys:queries:batch:head:)``
/// writes. A query that no branch selects has output 0.
///
/// ``DilatedAttention`` computes the same from the branches, without asking this pattern about
/// tiles; given to `DistributedAttention` it is another, slow way to the same answer.
///
/// Source: Ding et al. 2023, LongNet: Scaling Transformers to 1,000,000,000 Tokens, §2.
public struct DilatedPattern: AttentionPattern {
  /// What is merged.
  public let branches: [DilatedBranch]
  /// Which rows a head selects.
  public let headOffset: HeadOffset
  /// Query heads of the problem, which grouped offsets depend on.
  public let queryHeads: Int
  /// Whether a query sees no later keys.
  public let isCausal: Bool

  /// - Precondition: there is a branch.
  public init(
    branches: [DilatedBranch], headOffset: HeadOffset = .modulo, queryHeads: Int, isCausal: Bool
  ) {
    precondition(!branches.isEmpty && queryHeads > 0, "a pattern has a branch and a head")
    self.branches = branches
    self.headOffset = headOffset
    self.queryHeads = queryHeads
    self.isCausal = isCausal
  }

  /// The first row that a head selects of a segment of a branch, counted from the segment's start.
  public func offset(of head: Int, in branch: DilatedBranch) -> Int {
    headOffset.offset(
      ofHead: head, queryHeads: queryHeads, dilationRate: branch.dilationRate)
  }

  /// Scores have the logarithm of a number added.
  public var hasBias: Bool { true }

  /// Heads select other rows where rows are left out.
  public var dependsOnHead: Bool { branches.contains { $0.dilationRate > 1 } }

  /// `none` where no branch has a segment in both ranges; never `all`.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    guard let firstKey = keys.first, let lastKey = keys.last,
      let firstQuery = queries.first, let lastQuery = queries.last
    else { return .none }
    if isCausal, firstKey > lastQuery { return .none }
    let isShared = branches.contains {
      firstKey / $0.segmentLength <= lastQuery / $0.segmentLength
        && firstQuery / $0.segmentLength <= lastKey / $0.segmentLength
    }
    return isShared ? .some : .none
  }

  /// Writes the logarithm of the number of branches that a query and a key share.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    // First the number itself.
    bias.update(repeating: 0)
    for branch in branches {
      let offset = offset(of: head, in: branch)
      var first = 0
      for query in queries {
        defer { first += keys.count }
        let (segment, token) = query.quotientAndRemainder(dividingBy: branch.segmentLength)
        if token % branch.dilationRate != offset { continue }
        let rows = branch.rows(ofSegment: segment, offset: offset, tokens: .max)
        guard let common = keys.commonIndices(with: rows) else { continue }
        for column in common.own { bias[first + column] += 1 }
      }
    }
    var element = 0
    for query in queries {
      for key in keys {
        bias[element] = isCausal && key > query ? -.infinity : log(bias[element])
        element += 1
      }
    }
  }
}
