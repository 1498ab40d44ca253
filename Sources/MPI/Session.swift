/// What all communicators of one MPI initialization share.
final class Session {
  /// Sends whose memory belongs to this module: see ``BufferedSends``.
  let bufferedSends = BufferedSends()
  /// The largest tag that MPI takes. Collectives that are made of messages use it, callers do not.
  let reservedTag: Int
  /// The rank in the world, for sentences.
  let worldRank: Int
  let worldSize: Int

  init(reservedTag: Int, worldRank: Int, worldSize: Int) {
    self.reservedTag = reservedTag
    self.worldRank = worldRank
    self.worldSize = worldSize
  }
}
