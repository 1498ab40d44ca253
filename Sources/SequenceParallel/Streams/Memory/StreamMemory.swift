package import MPI
import Tensors

/// The one room in which the memory of streams is: a rank's own, or that which the ranks of a group
/// read and write in place.
///
/// Nobody outside of this folder sees an address. Memory is lent as ``Piece``s, which say where it
/// is, keep it alive, and show its bytes as spans.
@safe
package final class StreamMemory {
  private let own: AlignedBuffer<UInt8>
  private var shared: (any SharedParts)?
  /// The parts by member; none when shared memory has been given back.
  private var parts: [UnsafeMutableRawBufferPointer]

  /// A rank's own, all zeros, in one part.
  package init(byteCount: Int) {
    own = AlignedBuffer(zeros: byteCount)
    unsafe parts = [own.unsafeMutableBytes]
  }

  /// What a group shares, made by all its ranks together; a group of one needs nothing but its own.
  ///
  /// - Parameter byteCount: the bytes of this rank's part.
  package init(byteCount: Int, group: any Wire) throws(MPIError) {
    if group.size == 1 {
      own = AlignedBuffer(zeros: byteCount)
      unsafe parts = [own.unsafeMutableBytes]
    } else {
      own = AlignedBuffer(zeros: 0)
      let window = try group.share(byteCount: byteCount)
      shared = window
      unsafe parts = (0..<group.size).map { unsafe window.unsafeBytes(of: $0) }
    }
  }

  /// What somebody else owns and keeps for as long as this and its pieces live.
  @unsafe
  fileprivate init(unowned memory: UnsafeMutableRawBufferPointer) {
    own = AlignedBuffer(zeros: 0)
    unsafe parts = [memory]
  }

  /// Some bytes of a member's part.
  package func piece(of member: Int = 0, _ range: Range<Int>) -> Piece {
    unsafe precondition(
      member < parts.count && range.lowerBound >= 0 && range.upperBound <= parts[member].count,
      "no such memory")
    return Piece(memory: self, member: member, range: range)
  }

  /// A rank's own memory in pieces of these sizes, each on a cache line of its own.
  package static func pieces(sizes: [Int]) -> [Piece] {
    let memory = StreamMemory(byteCount: sizes.reduce(0) { $0 + aligned($1) })
    var end = 0
    return sizes.map { size in
      defer { end += aligned(size) }
      return memory.piece(end..<end + size)
    }
  }

  /// Gives shared memory back, called by all ranks of the group together; what is left of its
  /// pieces shows nothing any more.
  package func free() throws(MPIError) {
    guard let window = shared.take() else { return }
    unsafe parts = []
    try window.free()
  }

  @unsafe
  fileprivate func unsafeBytes(of member: Int, _ range: Range<Int>)
    -> UnsafeMutableRawBufferPointer
  {
    unsafe precondition(member < parts.count, "memory that was given back")
    return unsafe UnsafeMutableRawBufferPointer(rebasing: parts[member][range])
  }
}

extension Piece {
  /// Memory that somebody else owns, and keeps for as long as the piece and all copies of it live.
  @unsafe
  package init(unowned memory: UnsafeMutableRawBufferPointer) {
    self = unsafe StreamMemory(unowned: memory).piece(0..<memory.count)
  }

  /// Where the bytes are now: valid for as long as a copy of the piece lives and
  /// ``StreamMemory/free()`` has not been called.
  @unsafe
  package var unsafeBytes: UnsafeMutableRawBufferPointer {
    unsafe memory.unsafeBytes(of: member, range)
  }
}

/// The next multiple of a cache line: nothing that is written by different ranks shares one.
func aligned(_ bytes: Int) -> Int { (bytes + 63) / 64 * 64 }
