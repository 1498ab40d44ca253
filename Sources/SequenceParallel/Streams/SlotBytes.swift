import MPI

/// Some bytes of a group's memory, as a transfer is given them.
///
/// Whoever makes one keeps the memory for as long as the transfer lasts, and nobody writes to what
/// is sent, or touches what is received, meanwhile.
@safe
struct SlotBytes: ~Copyable, TransferBuffer {
  private let bytes: UnsafeMutableRawBufferPointer

  init(_ bytes: UnsafeMutableRawBufferPointer) {
    unsafe self.bytes = bytes
  }

  func withUnsafeTransferBytes<R, E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe body(UnsafeRawBufferPointer(bytes))
  }

  mutating func withUnsafeMutableTransferBytes<R, E: Error>(
    _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe body(bytes)
  }
}
