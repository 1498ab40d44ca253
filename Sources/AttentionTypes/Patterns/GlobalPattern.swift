public import Tensors

/// Global tokens see every key and are seen by every query.
///
/// With g of them and n tokens they cost about `2 · g · n` pairs. Keys of global tokens go to all
/// ranks, and all keys to the ranks that hold a global query.
///
/// Source: Beltagy et al. 2020, Longformer, section 3.1: global attention.
public struct GlobalPattern: AttentionPattern {
  /// Positions of the keys of global tokens, ascending, without overlap.
  public let tokens: [Range<Int>]
  /// The key that stands where a query does is so far past its index.
  public let offset: Int

  /// Creates the pattern.
  ///
  /// - Parameters:
  ///   - tokens: global tokens, by the positions of their keys, in any order.
  ///   - offset: `keyTokens − tokens` where there are more keys than queries.
  public init(tokens: [Range<Int>], offset: Int = 0) {
    self.tokens = GlobalPattern.merged(tokens)
    self.offset = offset
  }

  /// Sorts ranges and joins those that touch.
  static func merged(_ ranges: [Range<Int>]) -> [Range<Int>] {
    var merged: [Range<Int>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
      if let last = merged.last, range.lowerBound <= last.upperBound {
        merged[merged.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
      } else {
        merged.append(range)
      }
    }
    return merged
  }

  /// Those of the global tokens, which see every key.
  public var singularQueries: [Range<Int>] {
    tokens.compactMap { keys in
      let queries = max(0, keys.lowerBound - offset)..<max(0, keys.upperBound - offset)
      return queries.isEmpty ? nil : queries
    }
  }

  /// `all` where all keys, or all queries, are global; sharp wherever positions are neighbours.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    if keys.isEmpty || queries.isEmpty { return .none }
    let ofKeys = share(of: keys, movedBy: 0)
    if ofKeys == .all { return .all }
    let ofQueries = share(of: queries, movedBy: offset)
    if ofQueries == .all { return .all }
    return ofKeys == .none && ofQueries == .none ? .none : .some
  }

  /// How many of some positions are global: all, none, or maybe some.
  private func share(of range: PositionRange, movedBy offset: Int) -> Coverage {
    let (first, last) = (range.start + offset, range[range.count - 1] + offset)
    var index = tokens.partitioningIndex { $0.upperBound > first }
    guard index < tokens.count, tokens[index].lowerBound <= last else { return .none }
    if tokens[index].contains(first), tokens[index].contains(last) { return .all }
    if range.stride == 1 { return .some }
    while index < tokens.count, tokens[index].lowerBound <= last {
      let start = max(tokens[index].lowerBound, first)
      let step = (start - first + range.stride - 1) / range.stride
      if first + step * range.stride < min(tokens[index].upperBound, last + 1) { return .some }
      index += 1
    }
    return .none
  }

  private func isGlobal(_ position: Int) -> Bool {
    let index = tokens.partitioningIndex { $0.upperBound > position }
    return index < tokens.count && tokens[index].contains(position)
  }

  /// Writes 0 in the rows and columns of global tokens and −∞ elsewhere.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    for (column, key) in keys.enumerated() {
      let isSeen = isGlobal(key)
      for row in 0..<queries.count {
        bias[row * keys.count + column] = isSeen ? 0 : -.infinity
      }
    }
    for (row, query) in queries.enumerated() where isGlobal(query + offset) {
      for column in 0..<keys.count { bias[row * keys.count + column] = 0 }
    }
  }
}

extension [Range<Int>] {
  /// The first index at which a condition holds that holds from somewhere on.
  func partitioningIndex(where holds: (Range<Int>) -> Bool) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if holds(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}

/// `--globals`: these tokens see all and are seen by all, whatever a window hides.
public struct GlobalMask: Mask {
  /// Its option and field.
  public static let name = "globals"
  /// The window; a causal mask still holds.
  public static let exempted: (any Mask.Type)? = WindowMask.self

  /// Positions among the keys, ascending, without overlap.
  public let tokens: [Range<Int>]

  /// Creates the mask of tokens at some positions among the keys.
  public init(tokens: [Range<Int>]) {
    self.tokens = GlobalPattern.merged(tokens)
  }

  /// Takes single positions and closed ranges, joined by commas: `0,5,9-12`.
  public init?(_ text: some StringProtocol) {
    var ranges: [Range<Int>] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard ends.count == 1 || ends.count == 2, let first = ends[0],
        let last = ends[ends.count - 1],
        first >= 0, last >= first, last < Int.max
      else { return nil }
      ranges.append(first..<last + 1)
    }
    self.init(tokens: ranges)
  }

  /// As it is asked for: `0,5,9-12`.
  public var description: String {
    tokens.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound - 1)" }
      .joined(separator: ",")
  }

  /// What a window does not hide.
  public func pattern(_ inputs: MaskInputs) -> any AttentionPattern {
    GlobalPattern(tokens: self.tokens, offset: inputs.offset)
  }

  /// The key's token, or the query's, is one of them.
  public func allows(query: Int, key: Int, batch: Int, head: Int, _ inputs: MaskInputs) -> Bool {
    self.tokens.contains { $0.contains(key) || $0.contains(query + inputs.offset) }
  }

  /// The queries that are global, by their indices, and those that are not: ascending, without
  /// overlap.
  ///
  /// - Parameters:
  ///   - tokens: queries of a sequence.
  ///   - offset: how far past its own index a query stands among the keys.
  public func queries(
    of tokens: Int, offset: Int
  ) -> (global: [Range<Int>], others: [Range<Int>]) {
    let global = self.tokens.map {
      max(0, $0.lowerBound - offset)..<max(0, min(tokens, $0.upperBound - offset))
    }.filter { !$0.isEmpty }
    var others: [Range<Int>] = []
    var start = 0
    for range in global {
      others.append(start..<range.lowerBound)
      start = range.upperBound
    }
    others.append(start..<tokens)
    return (global, others.filter { !$0.isEmpty })
  }

  /// The description.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }

  /// Takes what ``encode(to:)`` writes.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let mask = Self(try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "global tokens are positions and ranges of them")
    }
    self = mask
  }
}
