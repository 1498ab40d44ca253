import MPI
import Tensors

/// Memory that the ranks of a group read and write in place.
///
/// A group of one rank needs nothing but its own; ranks of a node share a window.
struct GroupMemory: ~Copyable {
  private var own: AlignedBuffer<UInt8>
  private var window: SharedWindow?

  /// Makes the memory, called by all ranks of the group together.
  ///
  /// - Parameters:
  ///   - byteCount: the bytes of this rank's part.
  ///   - group: the ranks that share it.
  init(byteCount: Int, group: borrowing Communicator) throws(MPIError) {
    if group.size == 1 {
      own = AlignedBuffer(zeros: byteCount)
      window = nil
    } else {
      own = AlignedBuffer(zeros: 0)
      window = try SharedWindow(byteCount: byteCount, on: group)
    }
  }

  /// The parts of all members.
  @unsafe
  func parts(of group: borrowing Communicator) -> [UnsafeMutableRawBufferPointer] {
    switch window {
    case .some(let window): unsafe (0..<group.size).map { unsafe window.unsafeBytes(of: $0) }
    case .none: unsafe [own.unsafeMutableBytes]
    }
  }

  /// Gives a window back, called by all ranks of the group together; the memory is gone then.
  mutating func free() throws(MPIError) {
    if let window = window.take() { try window.free() }
  }
}
