import Glibc
public import Tensors

/// One branch of dilated attention: the sequence is cut into segments, and of each segment every
/// `dilationRate`-th row attends to every `dilationRate`-th row.
public struct DilatedBranch: Hashable, Sendable {
  /// Tokens of a segment; the last one may be shorter.
  public let segmentLength: Int
  /// The distance between neighbouring rows.
  public let dilationRate: Int

  /// - Precondition: both are positive.
  public init(segmentLength: Int, dilationRate: Int) {
    precondition(segmentLength > 0 && dilationRate > 0, "a branch has a length and a rate")
    self.segmentLength = segmentLength
    self.dilationRate = dilationRate
  }

  /// The segments of a sequence.
  public func segmentCount(tokens: Int) -> Int {
    tokens / segmentLength + (tokens % segmentLength == 0 ? 0 : 1)
  }

  /// The positions that a segment selects.
  ///
  /// - Parameters:
  ///   - offset: of the first row from the start of the segment.
  ///   - tokens: of the sequence, at which the last segment ends.
  public func rows(segment: Int, offset: Int, tokens: Int) -> PositionRange {
    let start = segment * segmentLength
    let length = min(segmentLength, tokens - start)
    let count = offset < length ? (length - offset - 1) / dilationRate + 1 : 0
    return PositionRange(start: start + offset, stride: dilationRate, count: count)
  }
}

/// Which rows a head selects of a segment.
public enum HeadOffset: Hashable, Sendable {
  /// Head `h` starts with row `h mod rate`, as in the paper.
  case modulo
  /// Neighbouring heads start with the same row, `⌊h / ⌈heads / rate⌉⌋`, as in torchscale; keys that
  /// query heads share are then needed at fewer offsets.
  case grouped
}

/// Dilated attention: softmax over the keys that a query shares a branch with, each as often as it
/// does.
///
/// Query `i` of head `h` is selected by a branch where `(i mod segmentLength) mod dilationRate` is the
/// head's offset; it sees the selected keys of its segment, up to itself if causal. Branches are
/// merged by their softmax denominators, which is one softmax over scores to which the logarithm of
/// the number of branches is added: that is what ``fill(_:keys:queries:head:)`` writes. A query that
/// no branch selects has output 0.
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

  /// The first row that a head selects of a segment of a branch.
  public func offset(of head: Int, in branch: DilatedBranch) -> Int {
    switch headOffset {
    case .modulo: head % branch.dilationRate
    case .grouped: head / ((queryHeads - 1) / branch.dilationRate + 1)
    }
  }

  /// Scores have the logarithm of a number added.
  public var hasBias: Bool { true }

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
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, head: Int
  ) {
    bias.update(repeating: 0)
    for branch in branches {
      let offset = offset(of: head, in: branch)
      var row = 0
      for query in queries {
        defer { row += keys.count }
        let (segment, place) = query.quotientAndRemainder(dividingBy: branch.segmentLength)
        if place % branch.dilationRate != offset { continue }
        let rows = PositionRange(
          start: segment * branch.segmentLength + offset, stride: branch.dilationRate,
          count: branch.segmentLength > offset
            ? (branch.segmentLength - offset - 1) / branch.dilationRate + 1 : 0)
        guard let common = keys.commonIndices(with: rows) else { continue }
        for column in common.own { bias[row + column] += 1 }
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
