public import Sharding
public import Tensors

/// Which rank keeps the keys and values of which positions of a growing sequence.
///
/// Those of the prompt stay with the ranks that computed them. What comes after goes in pages of
/// neighbouring positions, each to the rank that then has the fewest tokens, the first of several.
/// It is a value that every rank works out for itself.
public struct CachePlan: Hashable, Sendable {
  /// Positions of a page.
  public let pageTokens: Int
  /// Positions of the prompt.
  public let promptTokens: Int
  /// Tokens that each rank has room for, pages in whole.
  public private(set) var loads: [Int]
  /// The owner of each page, in order.
  public private(set) var pageOwners: [Int] = []

  /// The plan of a prompt that is divided among ranks.
  public init(prompt: Sharding, pageTokens: Int = 256) {
    precondition(pageTokens >= 1, "a page without tokens")
    self.pageTokens = pageTokens
    promptTokens = prompt.tokens
    loads = prompt.shards.indices.map(prompt.tokenCount)
  }

  /// Positions that there is a place for.
  public var tokens: Int { promptTokens + pageOwners.count * pageTokens }

  /// The page of a position after the prompt, and where in it the position is.
  ///
  /// Pages are given out up to it.
  public mutating func place(of position: Int) -> (page: Int, index: Int, rank: Int) {
    precondition(position >= promptTokens, "position \(position) is of the prompt")
    while tokens <= position {
      let least = loads.indices.min { loads[$0] < loads[$1] } ?? 0
      loads[least] += pageTokens
      pageOwners.append(least)
    }
    let (page, index) = (position - promptTokens).quotientAndRemainder(dividingBy: pageTokens)
    return (page, index, pageOwners[page])
  }

  /// The positions of a page.
  public func positions(ofPage page: Int) -> PositionRange {
    PositionRange(start: promptTokens + page * pageTokens, count: pageTokens)
  }
}
