import Glibc

/// A lock on a file, which ends with the last user of this object, or with the process.
///
/// Locks are advice to those who ask for them, as runs of Gyre do. File systems without locks grant
/// every one.
public final class FileLock: Sendable {
  private let descriptor: Int32

  /// Takes over an open file that is locked.
  init(owning descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  /// Locks the file that a path leads to.
  ///
  /// - Returns: nil if there is no file.
  /// - Throws: A `TensorFileError` if another process has the lock, or the file cannot be opened.
  public static func acquire(_ path: String) throws(TensorFileError) -> FileLock? {
    while true {
      let descriptor = unsafe open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
      if descriptor < 0 {
        guard errno == ENOENT else { throw unreadable(path, errno) }
        return nil
      }
      let lock = FileLock(owning: descriptor)
      guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK else {
        throw inUse(path)
      }
      // Its owner may have put another file in its place meanwhile.
      if lock.isOf(path) { return lock }
    }
  }

  /// Whether a path leads to the file of this lock.
  public func isOf(_ path: String) -> Bool {
    FileIdentity(regularFileOf: descriptor) == FileIdentity(existing: path)
  }

  /// The error that another process has the lock.
  public static func inUse(_ path: String) -> TensorFileError {
    TensorFileError(
      .unwritable, path: path, "another run uses it now",
      remedy: "wait for that run to end, or give another name")
  }

  private static func unreadable(_ path: String, _ number: Int32) -> TensorFileError {
    TensorFileError(
      .unreadable, path: path,
      "it cannot be opened: \(unsafe String(cString: strerror(number)))",
      remedy: "make it readable for you, or give another name")
  }
}
