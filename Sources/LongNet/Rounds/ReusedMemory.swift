import Tensors

/// Memory for the rounds of a rank, used again and again: the pages of fresh memory would take
/// longer than the copies into it, a fifth of the time of short segments.
///
/// It keeps no more than was in use at one time.
final class ReusedMemory {
  fileprivate final class Piece {
    let buffer: AlignedBuffer<UInt8>

    init(byteCount: Int) {
      buffer = unsafe AlignedBuffer(uninitializedCount: byteCount)
    }
  }

  /// Some memory, without a value, until this ends.
  struct Loan: ~Copyable {
    fileprivate let piece: Piece
    fileprivate let owner: ReusedMemory
    let byteCount: Int

    /// At least ``byteCount`` bytes.
    var buffer: AlignedBuffer<UInt8> {
      _read { yield piece.buffer }
    }

    @unsafe var bytes: UnsafeMutableRawBufferPointer {
      unsafe UnsafeMutableRawBufferPointer(rebasing: piece.buffer.unsafeMutableBytes[..<byteCount])
    }

    deinit { owner.free.append(piece) }
  }

  private var free: [Piece] = []

  /// Lends memory aligned to 64 bytes: the smallest that is free and large enough.
  func take(_ byteCount: Int) -> Loan {
    let fitting = free.indices.filter { free[$0].buffer.count >= byteCount }
    if let best = fitting.min(by: { free[$0].buffer.count < free[$1].buffer.count }) {
      return Loan(piece: free.remove(at: best), owner: self, byteCount: byteCount)
    }
    // In place of one that is too small.
    if let largest = free.indices.max(by: { free[$0].buffer.count < free[$1].buffer.count }) {
      free.remove(at: largest)
    }
    return Loan(piece: Piece(byteCount: byteCount), owner: self, byteCount: byteCount)
  }
}
