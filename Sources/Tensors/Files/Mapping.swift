import Glibc

/// A whole file in memory, for reading only; unmapped when its last user lets go of it.
@safe
final class Mapping: Sendable {
  let byteCount: Int

  /// The first byte; some address of none if the file is empty.
  @unsafe nonisolated(unsafe) let base: UnsafeRawPointer

  init(_ file: ReadableFile) throws(TensorFileError) {
    byteCount = file.byteCount
    // The system maps no empty files.
    guard byteCount > 0 else {
      unsafe base = UnsafeRawPointer(AlignedMemory.nowhere)
      return
    }
    let address = unsafe mmap(nil, byteCount, PROT_READ, MAP_SHARED, file.descriptorNumber, 0)
    // MAP_FAILED is a cast macro that is not imported; its value has all bits set.
    guard let address = unsafe address, Int(bitPattern: address) != -1 else {
      let code = errno
      let words = unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
      throw TensorFileError(
        .unreadable, path: file.path, "it cannot be mapped into memory: \(words)",
        remedy: "copy it to a local disk")
    }
    unsafe base = UnsafeRawPointer(address)
  }

  deinit {
    guard byteCount > 0 else { return }
    let status = unsafe munmap(UnsafeMutableRawPointer(mutating: base), byteCount)
    precondition(status == 0, "munmap failed")
  }
}
