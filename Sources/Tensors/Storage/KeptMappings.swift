/// Freed mappings that wait for a buffer of their size.
///
/// Passes over some thousand tokens take buffers of a few MiB and free them, one pass after the
/// other. Pages that the system provides anew cost half a microsecond to two each: a fifth of a
/// forward pass over packed documents of 512 tokens, 3 % of a model's prompt. What is kept is
/// bounded, so that a rank's resident memory still follows from what it holds.
package struct KeptMappings: Sendable {
  /// The most bytes that wait.
  package static let mostBytes = 16 << 20

  /// Sizes are multiples of this, so that buffers of nearly the same size fit.
  private static let granule = 64 << 10

  /// Where a mapping is; its size.
  private struct Kept {
    let address: UInt
    let size: Int
  }

  /// The oldest first.
  private var mappings: [Kept] = []
  private var byteCount = 0

  /// Nothing is kept yet.
  package init() {}

  /// The size of a mapping for a buffer of so many bytes.
  package static func size(for byteCount: Int) -> Int {
    (byteCount + granule - 1) / granule * granule
  }

  /// Gives away the mapping of a size that was freed last; nil if there is none.
  @unsafe
  package mutating func take(size: Int) -> UnsafeMutableRawPointer? {
    guard let index = mappings.lastIndex(where: { $0.size == size }) else { return nil }
    byteCount -= size
    return unsafe UnsafeMutableRawPointer(bitPattern: mappings.remove(at: index).address)
  }

  /// Keeps a mapping.
  ///
  /// - Parameter unmap: takes those that there is no room for any more, the oldest.
  @unsafe
  package mutating func keep(
    _ base: UnsafeMutableRawPointer, size: Int,
    unmap: (UnsafeMutableRawPointer, _ size: Int) -> Void
  ) {
    mappings.append(Kept(address: UInt(bitPattern: base), size: size))
    byteCount += size
    while byteCount > Self.mostBytes {
      let oldest = mappings.removeFirst()
      byteCount -= oldest.size
      if let base = unsafe UnsafeMutableRawPointer(bitPattern: oldest.address) {
        unsafe unmap(base, oldest.size)
      }
    }
  }
}
