public import Attention
import Sharding
import Tensors

/// Where tokens stand for the decay of xPos.
public struct XPosPlaces: Sendable {
  /// Where queries stand.
  public let queries: TokenPositions
  /// Where keys stand.
  public let keys: TokenPositions
  /// First keys that stand next to a window, as in a cache; nil if none do.
  public let sinks: CachedSinkAttention.Sinks?

  /// Takes all of it.
  public init(
    queries: TokenPositions, keys: TokenPositions, sinks: CachedSinkAttention.Sinks? = nil
  ) {
    (self.queries, self.keys, self.sinks) = (queries, keys, sinks)
  }

  /// Queries that begin so far past the keys.
  public init(offset: Int) {
    self.init(queries: TokenPositions(offset: offset), keys: TokenPositions())
  }
}

/// The keys of a problem in groups of neighbouring positions, sinks of a cache apart, each of which
/// has a pass of its own.
///
/// Context windows and documents whose positions begin anew have keys of one group in many places.
struct XPosGroups: Sendable {
  /// Keys that are met together.
  struct Group: Hashable, Sendable {
    /// Their positions, from whose middle powers are taken.
    let positions: Range<Int>
    /// Whether they are sinks of a cache.
    let isOfSinks: Bool
    fileprivate let number: Int32
  }

  private let problem: ShardedAttention
  private let places: XPosPlaces
  private let all: [Group]
  /// Which group keys are of; nil where positions are indices.
  private let labels: KeyLabelPattern?

  /// Finds them.
  ///
  /// - Parameter length: of the positions of a group.
  init(_ problem: ShardedAttention, _ places: XPosPlaces, length: Int) {
    self.problem = problem
    self.places = places
    let (tokens, batch) = (problem.keys.tokens, problem.shape.batch)
    let range = places.keys.range(tokens: tokens)
    func group(_ number: Int, isOfSinks: Bool) -> Group {
      let first = range.lowerBound + number * length
      return Group(
        positions: first..<min(first + length, range.upperBound), isOfSinks: isOfSinks,
        number: Int32(number))
    }
    let sinkCount = min(places.sinks?.count ?? 0, tokens)
    var (ofSinks, ofOthers): (Set<Int>, Set<Int>) = ([], [])
    if places.keys.isTable {
      var numbers = [[Int32]](repeating: [], count: batch)
      for sequence in 0..<batch {
        numbers[sequence].reserveCapacity(tokens)
        for key in 0..<tokens {
          let number = (places.keys[sequence, key] - range.lowerBound) / length
          numbers[sequence].append(Int32(number))
          if key < sinkCount { ofSinks.insert(number) } else { ofOthers.insert(number) }
        }
      }
      labels = KeyLabelPattern(numbers, seeing: 0)
    } else {
      ofSinks.formUnion(stride(from: 0, to: sinkCount, by: length).map { $0 / length })
      if tokens > sinkCount {
        ofOthers.formUnion(sinkCount / length...(tokens - 1) / length)
      }
      labels = nil
    }
    let groups =
      ofSinks.sorted().map { group($0, isOfSinks: true) }
      + ofOthers.sorted().map { group($0, isOfSinks: false) }
    all = groups.isEmpty ? [group(0, isOfSinks: false)] : groups
  }

  /// Their numbers.
  var indices: Range<Int> { all.indices }

  subscript(index: Int) -> Group { all[index] }

  /// What is computed over the keys of a group.
  func problem(of index: Int) -> ShardedAttention {
    if all.count == 1, !all[0].isOfSinks { return problem.seeing(problem.pattern) }
    let (group, tokens) = (all[index], problem.keys.tokens)
    let sinkCount = min(places.sinks?.count ?? 0, tokens)
    var range = group.isOfSinks ? 0..<sinkCount : sinkCount..<tokens
    var patterns = [problem.pattern]
    if let labels {
      patterns.append(labels.seeing(group.number))
    } else {
      range = range.clamped(to: group.positions)
    }
    if range != 0..<tokens { patterns.append(KeyRangePattern(range)) }
    let part = problem.seeing(IntersectedPattern(patterns))
    return group.isOfSinks ? part.with(scoreRule: places.sinks?.scoreRule) : part
  }

  /// Where a query stands for the keys of a group.
  func position(ofQuery token: Int, _ batch: Int, meeting group: Group) -> Int {
    guard group.isOfSinks, let sinks = places.sinks else { return places.queries[batch, token] }
    return sinks.queries.forSinks[batch, token]
  }

  /// Where a key stands; nil if it is of another group.
  func position(ofKey token: Int, _ batch: Int, in group: Group) -> Int? {
    let isOfSinks = token < places.sinks?.count ?? 0
    return isOfSinks == group.isOfSinks ? places.keys[batch, token] : nil
  }

  /// Turns queries to where they stand for the keys of a group, or gradients back.
  func turn(
    _ rows: inout Tensor<Float>, _ runs: [PositionRange], meeting group: Group,
    backwards: Bool = false
  ) {
    if group.isOfSinks { places.sinks?.turn(&rows, runs, backwards: backwards) }
  }
}
