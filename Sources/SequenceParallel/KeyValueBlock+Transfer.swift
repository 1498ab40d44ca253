public import Attention
public import MPI

/// A block travels as the bytes of the keys and values that it holds; what more room it has stays
/// untouched.
extension KeyValueBlock: TransferBuffer {
  /// The bytes that the block holds.
  public func withUnsafeTransferBytes<R, E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe body(UnsafeRawBufferPointer(unsafeBytes))
  }

  /// The bytes that the block is about to hold.
  public mutating func withUnsafeMutableTransferBytes<R, E: Error>(
    _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe body(unsafeBytes)
  }
}
