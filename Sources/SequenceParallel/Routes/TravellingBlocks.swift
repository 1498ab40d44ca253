import Attention

/// What passes by the ranks in one pass, and what goes home.
struct TravellingBlocks {
  /// For each owner, the tokens of its block.
  let tokens: [Int]
  /// Bytes of a token.
  let bytes: TravellingBytes
  /// Which rank has work to do on the block of which owner.
  let meetings: Meetings
  /// Whether blocks go from each rank to the one before.
  ///
  /// Under a causal mask keys are of use to later ranks and queries to earlier ones, where the
  /// layout is contiguous; that way round each goes no further than it must.
  let isReversed: Bool

  /// For each owner, the bytes of its block.
  var sizes: [Int] { tokens.map { $0 * bytes.block } }

  /// For each owner, the bytes of what is found out about its block; zeros if nothing is sent home.
  var results: [Int] { tokens.map { $0 * bytes.result } }

  /// Their schedule on a ring of groups.
  func schedule(_ groups: [[Int]]) -> RingSchedule {
    RingSchedule(groups: isReversed ? groups.reversed() : groups, meetings: meetings)
  }
}
