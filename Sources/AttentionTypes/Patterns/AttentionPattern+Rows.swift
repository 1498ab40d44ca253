public import Tensors

/// Some keys that a query sees.
public struct SeenKeys: Hashable, Sendable {
  /// Their positions.
  public let keys: PositionRange
  /// 1 where all of them are seen; else the part of them that is taken for seen.
  public let share: Double

  /// How many of them are seen.
  public var count: Double { Double(keys.count) * share }
}

extension AttentionPattern {
  /// The keys that one query sees, by questions about parts of a range that is halved where its
  /// edges are.
  ///
  /// - Parameters:
  ///   - query: its position.
  ///   - keys: positions among which it looks.
  ///   - place: the sequence and the query head; nil for what any of them sees.
  ///   - questions: after so many, half of every part that is still undecided counts, parts being
  ///     of equal length. A mask with edges takes some twenty for each of them.
  ///   - precision: likewise once the undecided keys are at most this part of those that are seen.
  /// - Returns: in ascending order of their starts.
  /// - Complexity: O(edges · log keys) questions.
  public func seenKeys(
    of query: Int, among keys: PositionRange, in place: (batch: Int, head: Int)? = nil,
    questions: Int = 4096, precision: Double = 0
  ) -> [SeenKeys] {
    let row = PositionRange(query..<query + 1)
    // A look at every key is a look at one sequence and head.
    let looks = place != nil || !dependsOnBatch && !dependsOnHead
    func answer(_ keys: PositionRange) -> Coverage {
      guard let place else { return coverage(keys: keys, queries: row) }
      return coverage(keys: keys, queries: row, batch: place.batch, head: place.head)
    }
    // Looked at in the order in which they are found, so that all are about equally long.
    var open = classes(keys) ?? [keys]
    var seen: [SeenKeys] = []
    var (next, count, undecided) = (0, 0.0, Double(keys.count))
    while next < open.count {
      let part = open[next]
      next += 1
      if part.isEmpty { continue }
      if next > questions || undecided <= precision * count {
        seen.append(SeenKeys(keys: part, share: 0.5))
        continue
      }
      switch answer(part) {
      case .none: undecided -= Double(part.count)
      case .all:
        seen.append(SeenKeys(keys: part, share: 1))
        count += Double(part.count)
        undecided -= Double(part.count)
      case .some where looks ? part.count <= Self.fewKeys : part.count == 1:
        for keys in looks ? visibleParts(of: part, row, place ?? (0, 0)) : [part] {
          seen.append(SeenKeys(keys: keys, share: 1))
          count += Double(keys.count)
        }
        undecided -= Double(part.count)
      case .some:
        let half = part.count / 2
        open.append(part.slice(0..<half))
        open.append(part.slice(half..<part.count))
      }
    }
    return seen.sorted { $0.keys.start < $1.keys.start }
  }

  /// As many as are settled by one look at each rather than by halving.
  private static var fewKeys: Int { 16 }

  /// The stretches of a few keys that a row sees.
  private func visibleParts(
    of keys: PositionRange, _ row: PositionRange, _ place: (batch: Int, head: Int)
  ) -> [PositionRange] {
    var bias = [Float](repeating: 0, count: keys.count)
    var span = bias.mutableSpan
    fill(&span, keys: keys, queries: row, batch: place.batch, head: place.head)
    var parts: [PositionRange] = []
    var start = 0
    for index in 0...keys.count where index == keys.count || bias[index] == -.infinity {
      if index > start { parts.append(keys.slice(start..<index)) }
      start = index + 1
    }
    return parts
  }
}
