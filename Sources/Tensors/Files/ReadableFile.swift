import Glibc
internal import SystemPackage

/// A regular file that is open for reading; closed when its last user lets go of it.
///
/// Reads name their offset (`pread`), so any number of threads may share the file.
package final class ReadableFile: Sendable {
  package let path: String

  /// The size in bytes when the file was opened.
  package let byteCount: Int

  /// When its contents were last changed before it was opened, in seconds since 1970.
  let modified: String

  private let descriptor: FileDescriptor

  /// The number that the system knows the open file by.
  var descriptorNumber: Int32 { descriptor.rawValue }

  package init(path: String) throws(TensorFileError) {
    func refusal(_ problem: String, _ remedy: String) -> TensorFileError {
      TensorFileError(.unreadable, path: path, problem, remedy: remedy)
    }
    do {
      // Not to block in `open` where the path names a pipe, which is refused below.
      descriptor = try FileDescriptor.open(
        FilePath(path), .readOnly, options: [.nonBlocking, .closeOnExec])
    } catch Errno.noSuchFileOrDirectory {
      throw refusal("there is no such file", "check the path, and that every host sees it")
    } catch Errno.permissionDenied {
      throw refusal("permission to read it is denied", "make it readable for you, as chmod does")
    } catch {
      throw refusal("it cannot be opened: \(reason(error))", "check the path")
    }
    self.path = path

    let status: Stat
    do {
      status = try descriptor.stat()
    } catch {
      try? descriptor.close()
      throw refusal("its size is unknown: \(reason(error))", "copy it to a local disk")
    }
    // Before the last property is set, from when on a throw would close the file in `deinit` as
    // well.
    guard status.type == .regular else {
      try? descriptor.close()
      throw status.type == .directory
        ? refusal("it is a directory", "name a file in it")
        : refusal("it is not a regular file", "save its contents to a file, to read slices of it")
    }
    byteCount = Int(status.size)
    let nanoseconds = "\(status.st_mtim.tv_nsec)"
    modified =
      "\(status.st_mtim.tv_sec)."
      + String(repeating: "0", count: max(0, 9 - nanoseconds.count)) + nanoseconds
  }

  deinit {
    // Nothing is lost when closing a file that was only read.
    try? descriptor.close()
  }

  /// Fills `bytes` with the contents of the file from `offset` on.
  ///
  /// Short reads and interruptions by signals are continued.
  func read(at offset: Int, into bytes: inout MutableRawSpan) throws(TensorFileError) {
    let wanted = bytes.byteCount
    let result: Result<Int, Errno> = unsafe bytes.withUnsafeMutableBytes { buffer in
      var done = 0
      while done < wanted {
        do {
          let count = try unsafe descriptor.read(
            fromAbsoluteOffset: Int64(offset + done), into: .init(rebasing: buffer[done...]))
          if count == 0 { break }
          done += count
        } catch {
          return .failure(error as? Errno ?? .ioError)
        }
      }
      return .success(done)
    }
    switch result {
    case .success(let done) where done == wanted: return
    case .success(let done):
      throw TensorFileError(
        .truncated, path: path,
        "it ends at byte \(offset + done), but had \(byteCount) bytes when it was opened",
        remedy: "do not change a file while it is read")
    case .failure(let failure):
      throw TensorFileError(
        .unreadable, path: path, "reading at byte \(offset) failed: \(failure)",
        remedy: "check the disk or the network file system")
    }
  }

  /// The `count` bytes from `offset` on.
  package func read(at offset: Int, count: Int) throws(TensorFileError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    try read(at: offset, into: &raw)
    return bytes
  }
}

/// The system's words for an error of a system call.
func reason(_ error: any Error) -> String {
  (error as? Errno)?.description ?? "\(error)"
}
