import Glibc
internal import SystemPackage

/// A file under construction, beside the file that it will become.
///
/// Its name follows from the target's and a token that all processes of a job know: `.NAME.partial-`
/// followed by the token.
struct PartialFile: ~Copyable {
  /// The path that the finished file will have, as it was given.
  let target: String

  /// The path of the file under construction.
  let path: String

  private let descriptor: FileDescriptor

  /// Closes the file, after `synchronize` has found what errors there are.
  deinit {
    try? descriptor.close()
  }

  /// Opens the file under construction: creates it, or expects that another process has.
  init(target: String, token: String, creating: Bool) throws(TensorFileError) {
    precondition(
      !token.isEmpty && !token.contains("/"), "A token becomes part of a file's name")
    let targetPath = FilePath(target)
    guard let name = targetPath.lastComponent, name.kind == .regular, !target.hasSuffix("/") else {
      throw TensorFileError(
        .unwritable, path: target, "it does not name a file", remedy: "add a file name to the path")
    }
    let folder = Self.folder(of: targetPath)
    let path = folder.appending(".\(name.string).partial-\(token)")
    let options: FileDescriptor.OpenOptions =
      creating ? [.create, .exclusiveCreate, .closeOnExec] : [.closeOnExec]
    // Now, rather than when the finished file is to take its name.
    if creating, (try? targetPath.stat().type) == .directory {
      throw TensorFileError(
        .unwritable, path: target, "it is a directory", remedy: "add a file name to the path")
    }
    let descriptor: FileDescriptor
    do {
      // Readable and writable for all, less the umask, as for files that other programs create.
      descriptor = try FileDescriptor.open(
        path, .writeOnly, options: options,
        permissions: [.ownerReadWrite, .groupReadWrite, .otherReadWrite])
    } catch {
      let failure = error as? Errno ?? .ioError
      throw creating
        ? Self.cannotCreate(target, folder: folder.string, path.string, failure)
        : TensorFileError(
          .unwritable, path: target,
          "the file \(quoted(path.string, limit: 4096)) that was begun for it cannot be opened:"
            + " \(failure)",
          remedy: "make sure that all hosts share the folder")
    }
    self.target = target
    self.path = path.string
    self.descriptor = descriptor
  }

  /// Gives the file its full size, so that a full disk is noticed before any work is done.
  func reserve(_ byteCount: Int) throws(TensorFileError) {
    // Where the file system cannot reserve, glibc writes to every block, which is slow but finds a
    // full disk as well; other C libraries report it, and then the size alone is set.
    var failure: Errno
    repeat {
      failure = Errno(rawValue: posix_fallocate(descriptor.rawValue, 0, byteCount))
    } while failure == .interrupted
    if failure == .notSupported || failure == .invalidArgument {
      do {
        try descriptor.resize(to: Int64(byteCount))
        return
      } catch {
        failure = error as? Errno ?? .ioError
      }
    }
    guard failure.rawValue != 0 else { return }
    throw Self.cannotWrite(target, "reserving \(byteCount) bytes", failure)
  }

  /// The size of the file in bytes.
  func byteCount() throws(TensorFileError) -> Int {
    do {
      return Int(try descriptor.stat().size)
    } catch {
      throw Self.cannotWrite(target, "asking for its size", error)
    }
  }

  /// Writes `bytes` at `offset`; short writes and interruptions by signals are continued.
  func write(_ bytes: RawSpan, at offset: Int) throws(TensorFileError) {
    let failure: Errno? = unsafe bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        do {
          let count = try unsafe descriptor.write(
            toAbsoluteOffset: Int64(offset + done), .init(rebasing: buffer[done...]))
          if count == 0 { return .ioError }
          done += count
        } catch {
          return error as? Errno ?? .ioError
        }
      }
      return nil
    }
    if let failure {
      throw Self.cannotWrite(
        target, "writing \(bytes.byteCount) bytes at byte \(offset)", failure)
    }
  }

  /// Returns when all that this process wrote is on the disk.
  func synchronize() throws(TensorFileError) {
    do {
      try Self.synchronize(descriptor)
    } catch {
      throw Self.cannotWrite(target, "writing it to the disk", error)
    }
  }

  /// Gives the file the target's name, in place of any file that has it: all at once or not at all.
  func rename() throws(TensorFileError) {
    guard unsafe Glibc.rename(path, target) == 0 else {
      throw TensorFileError(
        .unwritable, path: target,
        "the finished file cannot be given its name: \(Errno(rawValue: errno))",
        remedy: "rename \(quoted(path, limit: 4096)) yourself, which has all data")
    }
    try synchronizeFolder()
  }

  /// Removes the file, if it is there.
  func remove() {
    _ = unsafe unlink(path)
  }

  /// Makes the new name outlast a power failure; not every file system can be asked to.
  private func synchronizeFolder() throws(TensorFileError) {
    do {
      let descriptor = try FileDescriptor.open(
        Self.folder(of: FilePath(target)), .readOnly, options: [.directory, .closeOnExec])
      defer { try? descriptor.close() }
      try Self.synchronize(descriptor)
    } catch Errno.invalidArgument {
      return
    } catch {
      throw Self.cannotWrite(target, "writing its name to the disk", error as? Errno ?? .ioError)
    }
  }

  private static func synchronize(_ descriptor: FileDescriptor) throws(Errno) {
    while fsync(descriptor.rawValue) != 0 {
      guard errno == EINTR else { throw Errno(rawValue: errno) }
    }
  }

  private static func folder(of path: FilePath) -> FilePath {
    let folder = path.removingLastComponent()
    return folder.isEmpty ? "." : folder
  }
}
