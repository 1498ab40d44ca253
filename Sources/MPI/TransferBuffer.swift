/// Memory that can be moved into a transfer: owned, on the heap, and never moving.
///
/// MPI keeps the address of a buffer from the post of a transfer until its end, while the Swift
/// value that owns the memory is moved into the pending transfer and out again. A conforming type
/// therefore promises:
///
/// - both requirements always give the same address, from the value's creation to its end, however
///   often the value is moved, and the memory is freed by the value's `deinit` alone;
/// - the bytes are initialized, and may be overwritten by any others (they are those of
///   `BitwiseCopyable` elements).
///
/// A type which uses a part of its capacity gives only that part: the bytes shown here are the ones
/// that travel. To receive, it is set to the size that is expected and passed to
/// ``Communicator/receive(into:from:tag:byteCount:chunkBytes:)``; where the type cannot know, the
/// `byteCount` of the transfer limits it to the first bytes.
public protocol TransferBuffer: ~Copyable {
  /// Calls `body` with the bytes to send; their address outlives the call.
  func withUnsafeTransferBytes<R, E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R

  /// Calls `body` with the bytes to receive into; their address outlives the call.
  mutating func withUnsafeMutableTransferBytes<R, E: Error>(
    _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
  ) throws(E) -> R
}
