import Tensors

/// Memory for the rounds of a rank, used again and again: the pages of fresh memory would take longer
/// than the copies into it, a fifth of the time of short segments.
///
/// It keeps no more than was in use at one time.
final class ReusedMemory {
  final class Room {
    let buffer: AlignedBuffer<UInt8>

    init(byteCount: Int) {
      buffer = unsafe AlignedBuffer(uninitializedCount: byteCount)
    }
  }

  /// Some memory, without a value, until this ends.
  struct Part: ~Copyable {
    fileprivate let room: Room
    fileprivate let owner: ReusedMemory
    let byteCount: Int

    /// At least ``byteCount`` bytes.
    var buffer: AlignedBuffer<UInt8> {
      _read { yield room.buffer }
    }

    @unsafe var bytes: UnsafeMutableRawBufferPointer {
      unsafe UnsafeMutableRawBufferPointer(rebasing: room.buffer.unsafeMutableBytes[..<byteCount])
    }

    deinit { owner.free.append(room) }
  }

  private var free: [Room] = []

  /// Lends memory aligned to 64 bytes: the smallest that is free and large enough.
  func take(_ byteCount: Int) -> Part {
    let fitting = free.indices.filter { free[$0].buffer.count >= byteCount }
    if let best = fitting.min(by: { free[$0].buffer.count < free[$1].buffer.count }) {
      return Part(room: free.remove(at: best), owner: self, byteCount: byteCount)
    }
    // In place of one that is too small.
    if let largest = free.indices.max(by: { free[$0].buffer.count < free[$1].buffer.count }) {
      free.remove(at: largest)
    }
    return Part(room: Room(byteCount: byteCount), owner: self, byteCount: byteCount)
  }
}
