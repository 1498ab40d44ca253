import Glibc
import Synchronization

/// Heap memory that starts on a cache line and, but for a bounded rest, goes back to the operating
/// system when freed.
///
/// Allocations from `mappingThreshold` bytes on are anonymous mappings of their own. `malloc` would
/// do the same at first, but glibc raises its threshold to as much as 32 MiB whenever such a block
/// is freed and keeps later ones in its arenas, so that a rank's resident memory would depend on
/// the order of past frees. Here it is ``KeptMappings/mostBytes`` more at most.
enum AlignedMemory {
  /// The alignment in bytes: one cache line, and one 512-bit vector.
  static let alignment = 64

  /// The size in bytes from which an allocation is a mapping of its own.
  static let mappingThreshold = 256 << 10

  /// The size in bytes from which huge pages are asked for, which spares most page faults.
  static let hugePageThreshold = 4 << 20

  /// Mappings without huge pages that have been freed.
  private static let kept = Mutex(KeptMappings())

  /// An aligned address for no bytes at all.
  @unsafe static var nowhere: UnsafeMutableRawPointer {
    unsafe UnsafeMutableRawPointer(bitPattern: alignment).unsafelyUnwrapped
  }

  /// Allocates `byteCount` bytes, at least one; all are zero if `zeroed`.
  ///
  /// Stops the process if there is not enough memory or address space.
  @unsafe
  static func allocate(byteCount: Int, zeroed: Bool) -> UnsafeMutableRawPointer {
    let size = max(byteCount, 1)
    if size < mappingThreshold {
      let base = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: alignment)
      if zeroed { unsafe memset(base, 0, size) }
      return unsafe base
    }
    if size < hugePageThreshold {
      let whole = KeptMappings.size(for: size)
      // An address is what a lock can give away.
      let address = kept.withLock { unsafe $0.take(size: whole).map { UInt(bitPattern: $0) } }
      if let address, let base = unsafe UnsafeMutableRawPointer(bitPattern: address) {
        if zeroed { unsafe memset(base, 0, size) }
        return unsafe base
      }
      // The pages are provided at once, since threads that touch them for the first time together
      // wait for each other (2 MiB: 4 ms of a 22 ms forward pass).
      return unsafe map(whole, flags: MAP_POPULATE)
    }
    let base = unsafe map(size, flags: 0)
    // A request that the system may turn down: the memory works either way.
    _ = unsafe madvise(base, size, MADV_HUGEPAGE)
    return unsafe base
  }

  /// Frees what `allocate` returned for the same `byteCount`.
  @unsafe
  static func free(_ base: UnsafeMutableRawPointer, byteCount: Int) {
    let size = max(byteCount, 1)
    if size < mappingThreshold {
      unsafe base.deallocate()
    } else if size < hugePageThreshold {
      let address = UInt(bitPattern: base)
      kept.withLock { kept in
        guard let base = unsafe UnsafeMutableRawPointer(bitPattern: address) else { return }
        unsafe kept.keep(base, size: KeptMappings.size(for: size)) { unsafe unmap($0, $1) }
      }
    } else {
      unsafe unmap(base, size)
    }
  }

  @unsafe
  private static func map(_ size: Int, flags: Int32) -> UnsafeMutableRawPointer {
    // MAP_FAILED is a cast macro that is not imported; its value is the pointer with all bits set.
    let base = unsafe mmap(
      nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0)
    guard let base = unsafe base, Int(bitPattern: base) != -1 else {
      fatalError("Not enough memory for a buffer of \(size) bytes: \(reason(errno))")
    }
    return unsafe base
  }

  @unsafe
  private static func unmap(_ base: UnsafeMutableRawPointer, _ size: Int) {
    let status = unsafe munmap(base, size)
    precondition(status == 0, "munmap failed: \(reason(errno))")
  }

  private static func reason(_ code: Int32) -> String {
    unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
  }
}
