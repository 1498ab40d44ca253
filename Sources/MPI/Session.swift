/// What all communicators of one MPI initialization share.
final class Session {
  /// Receives that wait for their messages.
  let inbox = Inbox()
  /// Transfers whose memory belongs to this module.
  let owned = OwnedTransfers()
  /// The largest tag that MPI takes: that of collectives which are made of messages.
  let reservedTag: Int

  init(reservedTag: Int) { self.reservedTag = reservedTag }
}
