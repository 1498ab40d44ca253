/// Which two tokens may be joined, how early, and what they become.
struct MergeTable: Sendable {
  /// A merge: earlier ones have lower ranks.
  struct Merge: Sendable {
    let rank: Int32
    let token: Int32
  }

  /// The two tokens of each place in one number; all bits where it is free.
  private var pairs: [UInt64]
  private var merges: [Merge]
  private static let free = UInt64.max

  init(capacity: Int) {
    var size = 16
    while size < 2 * capacity { size *= 2 }
    pairs = Array(repeating: Self.free, count: size)
    merges = Array(repeating: Merge(rank: 0, token: 0), count: size)
  }

  private func slot(_ pair: UInt64) -> Int {
    var slot = Int(truncatingIfNeeded: (pair &* 0x9E37_79B9_7F4A_7C15) >> 24) & (pairs.count - 1)
    while pairs[slot] != pair, pairs[slot] != Self.free { slot = (slot + 1) & (pairs.count - 1) }
    return slot
  }

  /// Adds a merge; of equal pairs the first counts.
  mutating func insert(_ left: Int32, _ right: Int32, _ merge: Merge) {
    let pair = Self.pair(left, right)
    let slot = slot(pair)
    guard pairs[slot] == Self.free else { return }
    pairs[slot] = pair
    merges[slot] = merge
  }

  /// The merge of two tokens; nil if they are not joined.
  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> Merge? {
    let slot = slot(Self.pair(left, right))
    return pairs[slot] == Self.free ? nil : merges[slot]
  }

  @inline(__always)
  private static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }
}
