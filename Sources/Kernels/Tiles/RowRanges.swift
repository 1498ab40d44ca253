import AttentionTypes
import Tensors

/// Which of some keys each row of a tile of queries sees, where these are neighbours: one question
/// for all the tiles of a leaf, and none for a register tile.
///
/// Keys are counted in the leaf. A tile is then no wider than what any of its rows sees, a group of
/// rows is multiplied by no panel that it does not see, and by no value that it does not.
///
/// It costs two additions of a range a row.
struct RowRanges: ~Copyable {
  /// Rows in use.
  private var count = 0
  /// What each row sees.
  private var rows: [Range<Int>]
  /// For each group of rows what any of them sees, and what all of them see.
  private var joined: [Range<Int>]
  private var common: [Range<Int>]
  /// What any row sees.
  private(set) var all = 0..<0
  /// What every row sees.
  private var shared = 0..<0

  /// Rows of a group.
  private let height: Int

  /// Room for so many rows, whole groups of `height`.
  init(capacity: Int, height: Int) {
    self.height = height
    rows = Array(repeating: 0..<0, count: capacity)
    joined = Array(repeating: 0..<0, count: capacity / height)
    common = joined
  }

  /// Asks a pattern that adds nothing to scores.
  ///
  /// - Parameters:
  ///   - keys: some keys of a leaf.
  ///   - first: which of the leaf the first of them is.
  ///   - queries: those of the tile.
  /// - Returns: whether what each row sees are neighbours and the pattern knows which; if not,
  ///   nothing else may be asked.
  mutating func ask(
    _ pattern: any AttentionPattern, keys: PositionRange, from first: Int, queries: PositionRange,
    batch: Int, head: Int
  ) -> Bool {
    count = queries.count
    for row in 0..<count { rows[row] = 0..<keys.count }
    var span = rows.mutableSpan
    guard
      pattern.narrow(&span, to: keys, of: queries, batch: batch, head: head)
    else { return false }
    summarize(from: first)
    return true
  }

  /// Finds out what groups see.
  private mutating func summarize(from first: Int) {
    all = 0..<0
    shared = 0..<Int.max
    for group in 0..<(count + height - 1) / height {
      var (any, every) = (0..<0, 0..<Int.max)
      for row in group * height..<min((group + 1) * height, count) {
        let seen = rows[row].lowerBound + first..<rows[row].upperBound + first
        rows[row] = seen
        any = Self.joined(any, seen)
        every = every.clamped(to: seen)
      }
      (joined[group], common[group]) = (any, every)
      all = Self.joined(all, any)
      shared = shared.clamped(to: every)
    }
  }

  /// The smallest range that holds both; an empty one holds nothing.
  @inline(__always)
  private static func joined(_ a: Range<Int>, _ b: Range<Int>) -> Range<Int> {
    if a.isEmpty { return b }
    if b.isEmpty { return a }
    return min(a.lowerBound, b.lowerBound)..<max(a.upperBound, b.upperBound)
  }

  /// The keys of a tile that have to be loaded, from a packed panel on; empty if no row sees any.
  func visible(in tile: Range<Int>) -> Range<Int> {
    let seen = all.clamped(to: tile)
    if seen.isEmpty { return seen }
    let skipped = (seen.lowerBound - tile.lowerBound) / PackedPanel.width * PackedPanel.width
    return tile.lowerBound + skipped..<seen.upperBound
  }

  /// Whether every row sees all of some keys.
  func allSee(_ keys: Range<Int>) -> Bool { Self.holds(shared, keys) }

  /// What any row of a group sees of some keys, counted from the first of these.
  @inline(__always)
  func seen(by group: Int, of keys: Range<Int>) -> Range<Int> {
    let seen = joined[group].clamped(to: keys)
    return seen.lowerBound - keys.lowerBound..<seen.upperBound - keys.lowerBound
  }

  /// Whether every row of a group sees all of some keys.
  @inline(__always)
  func allSee(_ keys: Range<Int>, group: Int) -> Bool { Self.holds(common[group], keys) }

  @inline(__always)
  private static func holds(_ range: Range<Int>, _ keys: Range<Int>) -> Bool {
    range.lowerBound <= keys.lowerBound && keys.upperBound <= range.upperBound
  }

  /// Leaves out the first and the last groups if their rows see nothing.
  ///
  /// - Returns: the rows that are left; group 0 is the first of them from now on.
  mutating func dropEmptyGroups() -> Range<Int> {
    let used = (count + height - 1) / height
    guard let first = joined[..<used].firstIndex(where: { !$0.isEmpty }),
      let last = joined[..<used].lastIndex(where: { !$0.isEmpty })
    else {
      count = 0
      return 0..<0
    }
    let left = first * height..<min((last + 1) * height, count)
    if first > 0 {
      for group in first...last {
        (joined[group - first], common[group - first]) = (joined[group], common[group])
      }
      for row in left { rows[row - left.lowerBound] = rows[row] }
    }
    count = left.count
    return left
  }

  /// Hides the scores of a group that its rows do not see.
  ///
  /// - Parameters:
  ///   - scores: row `r` of the group lies at `r · stride`.
  ///   - keys: those of the columns.
  ///   - columns: as many as there are scores of: what is past the last key is hidden too.
  @unsafe @inline(__always)
  func hide(
    _ scores: UnsafeMutablePointer<Float>, stride: Int, keys: Range<Int>, columns: Int, group: Int
  ) {
    for row in 0..<min(height, count - group * height) {
      let seen = rows[group * height + row].clamped(to: keys)
      let (first, end) = (seen.lowerBound - keys.lowerBound, seen.upperBound - keys.lowerBound)
      let scoreRow = unsafe scores + row * stride
      unsafe scoreRow.update(repeating: -.infinity, count: first)
      unsafe (scoreRow + end).update(
        repeating: -.infinity, count: columns - end)
    }
  }
}
