/// What all communicators of one MPI initialization share.
final class Session {
  /// Receives that wait for their messages.
  let inbox = Inbox()
  /// Transfers whose memory belongs to this module.
  let owned = OwnedTransfers()
  /// The largest tag that MPI takes: that of collectives which are made of messages.
  let reservedTag: Int
  /// Pieces of messages that have come or gone so far, on all communicators: how a ``WaitLoop``
  /// knows that something moves.
  var movements = 0

  init(reservedTag: Int) { self.reservedTag = reservedTag }
}
