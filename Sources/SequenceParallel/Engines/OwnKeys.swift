import Tensors

/// Where a rank's own packed keys and values lie: in the stream on which they travel, or in memory of
/// their own where they stay.
final class OwnKeys {
  private let stream: (any BlockStream)?
  private let memory: AlignedBuffer<UInt8>

  /// Those of a stream.
  init(in stream: any BlockStream) {
    self.stream = stream
    memory = AlignedBuffer(zeros: 0)
  }

  /// Those of a rank whose keys stay.
  init(byteCount: Int) {
    stream = nil
    memory = AlignedBuffer(zeros: byteCount)
  }

  /// Valid for as long as this lives.
  var bytes: UnsafeMutableRawBufferPointer {
    unsafe stream?.ownBlock ?? memory.unsafeMutableBytes
  }
}
