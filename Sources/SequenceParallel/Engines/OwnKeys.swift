/// Where a rank's own packed keys and values lie: in the stream on which they travel, or in memory of
/// their own where they stay.
final class OwnKeys {
  private let stream: (any BlockStream)?
  private let memory: Piece

  /// Those of a stream.
  init(in stream: any BlockStream) {
    self.stream = stream
    memory = .nothing
  }

  /// Those of a rank whose keys stay.
  init(byteCount: Int) {
    stream = nil
    memory = StreamMemory(byteCount: byteCount).piece(0..<byteCount)
  }

  /// Where they are.
  var piece: Piece { stream?.ownBlock ?? memory }
}
