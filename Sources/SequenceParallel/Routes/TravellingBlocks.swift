import Attention
import Sharding

/// What passes by the ranks in one pass, and what goes home.
package struct TravellingBlocks {
  /// For each owner, the tokens of the runs of its block.
  package let runTokens: [[Int]]
  /// For each owner, the tokens of its block.
  package let tokens: [Int]
  /// Bytes of a token.
  package let bytes: TravellingBytes
  /// Which rank has work to do on the block of which owner.
  package let meetings: Meetings
  /// Whether blocks go from each rank to the one before.
  ///
  /// Under a causal mask keys are of use to later ranks and queries to earlier ones, where the
  /// layout is contiguous; that way round each goes no further than it must.
  package let isReversed: Bool

  init(_ sharding: Sharding, bytes: TravellingBytes, meetings: Meetings, isReversed: Bool) {
    runTokens = sharding.runSizes(bytesPerToken: 1)
    tokens = sharding.tokenCounts
    self.bytes = bytes
    self.meetings = meetings
    self.isReversed = isReversed
  }

  /// For each owner, the bytes of each run of its block.
  package var sizes: [[Int]] { runTokens.map { $0.map { $0 * bytes.block } } }

  /// The tokens of some neighbouring parcels of an owner's block.
  func tokens(of owner: Int, _ parcels: [Parcel], _ stretch: Range<Int>) -> Int {
    let runs = parcels.runs(stretch)
    return runs.count == runTokens[owner].count
      ? tokens[owner] : runTokens[owner][runs].reduce(0, +)
  }

  /// The messages of some parcels of an owner's block, one for each stretch of neighbours.
  func message(
    of owner: Int, _ parcels: [Parcel], _ stretches: [Range<Int>], bytesPerToken: Int
  ) -> Message {
    stretches.reduce(Message()) {
      $0 + Message(tokens: tokens(of: owner, parcels, $1), bytesPerToken: bytesPerToken)
    }
  }

  /// Their schedule on a ring of groups.
  func schedule(_ groups: [[Int]]) -> RingSchedule {
    RingSchedule(groups: isReversed ? groups.reversed() : groups, meetings: meetings)
  }
}
