import Glibc
internal import SystemPackage

/// A file under construction, beside the file that it will become.
///
/// Its name follows from the target's and a token that all processes of a job know:
/// `.NAME.partial-` followed by the token. Whoever created it holds a lock on it, which ends with
/// the process however that ends: so the next one to write the same file knows what is left of a
/// dead one, and removes it.
struct PartialFile: ~Copyable {
  /// The path that the finished file will have, as it was given.
  let target: String

  /// The path of the file under construction.
  let path: String

  /// Files of processes that were killed, which were in the way and have been removed.
  let removedLeftovers: [String]

  private let finalPath: String
  private let existing: OutputTarget.Existing
  private let descriptor: FileDescriptor

  /// Closes the file, after `synchronize` has found what errors there are.
  deinit {
    try? descriptor.close()
  }

  /// Creates the file under construction.
  ///
  /// - Throws: A `TensorFileError` if it cannot be created, or another process is writing the same
  ///   target.
  init(creating target: OutputTarget, token: String) throws(TensorFileError) {
    let path = Self.path(of: target.resolvedPath, token: token)
    let folder = OutputTarget.folder(of: path).string
    let leftovers = Leftovers(of: FilePath(target.resolvedPath))
    let (removed, living) = leftovers.removeDead()
    if let living {
      throw TensorFileError(
        .unwritable, path: target.path,
        "another run is writing it now, as \(quoted(living, limit: 4096))",
        remedy: "wait for that run to end, or choose another name")
    }
    do {
      descriptor = try Self.createLocked(path)
    } catch {
      throw Self.cannotCreate(target.path, folder: folder, path.string, error)
    }
    var status = stat()
    if unsafe stat(target.resolvedPath, &status) == 0 {
      // Owner first: a change of owner takes bits away. Who must not give files away keeps them.
      _ = fchown(descriptor.rawValue, status.st_uid, status.st_gid)
      _ = fchmod(descriptor.rawValue, status.st_mode & 0o7777)
    }
    self.target = target.path
    self.path = path.string
    finalPath = target.resolvedPath
    existing = target.existing
    removedLeftovers = removed
  }

  /// Opens the file under construction that another process has created.
  init(joining target: String, token: String) throws(TensorFileError) {
    let resolved = try OutputTarget.resolve(target)
    let path = Self.path(of: resolved, token: token)
    do {
      descriptor = try FileDescriptor.open(path, .writeOnly, options: [.closeOnExec])
    } catch {
      throw TensorFileError(
        .unwritable, path: target,
        "the file \(quoted(path.string, limit: 4096)) that was begun for it cannot be opened:"
          + " \(error as? Errno ?? .ioError)",
        remedy: "make sure that all hosts share the folder")
    }
    self.target = target
    self.path = path.string
    finalPath = resolved
    existing = .replace
    removedLeftovers = []
  }

  /// Creates a file and locks it.
  private static func createLocked(_ path: FilePath) throws(Errno) -> FileDescriptor {
    while true {
      let descriptor: FileDescriptor
      do {
        // Readable and writable for all, less the umask, as for files that other programs create.
        descriptor = try FileDescriptor.open(
          path, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
          permissions: [.ownerReadWrite, .groupReadWrite, .otherReadWrite])
      } catch {
        throw error as? Errno ?? .ioError
      }
      // Some network file systems have no locks; there nobody takes a file for a leftover either.
      let isLocked = flock(descriptor.rawValue, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK
      var status = stat()
      if isLocked, unsafe fstat(descriptor.rawValue, &status) == 0, status.st_nlink > 0 {
        return descriptor
      }
      // Between the two calls another process took it for a leftover.
      try? descriptor.close()
    }
  }

  private static func path(of target: String, token: String) -> FilePath {
    precondition(
      !token.isEmpty && !token.contains("/"), "A token becomes part of a file's name")
    let target = FilePath(target)
    let name = target.lastComponent?.string ?? ""
    return OutputTarget.folder(of: target).appending("\(Leftovers.prefix(of: name))\(token)")
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
    guard moved() else {
      let failure = Errno(rawValue: errno)
      throw TensorFileError(
        .unwritable, path: target,
        failure == .fileExists
          ? "a file of this name has appeared meanwhile, which is not to be overwritten"
          : "the finished file cannot be given its name: \(failure)",
        remedy: "rename \(quoted(path, limit: 4096)) yourself, which has all data")
    }
    try synchronizeFolder()
  }

  private func moved() -> Bool {
    if existing == .replace { return unsafe Glibc.rename(path, finalPath) == 0 }
    // A second name cannot take the place of a file, as renaming would.
    if unsafe link(path, finalPath) == 0 {
      remove()
      return true
    }
    // Where the file system has no second names.
    guard errno == EPERM || errno == EOPNOTSUPP || errno == EMLINK else { return false }
    guard unsafe access(finalPath, F_OK) != 0 else {
      errno = EEXIST
      return false
    }
    return unsafe Glibc.rename(path, finalPath) == 0
  }

  /// The creator's lock, beyond the life of this value; the file keeps it with its new name.
  func lock() -> FileLock { FileLock(owning: dup(descriptor.rawValue)) }

  /// Removes the file, if it is there.
  func remove() {
    _ = unsafe unlink(path)
  }

  /// Makes the new name outlast a power failure; not every file system can be asked to.
  private func synchronizeFolder() throws(TensorFileError) {
    do {
      let descriptor = try FileDescriptor.open(
        OutputTarget.folder(of: FilePath(finalPath)), .readOnly,
        options: [.directory, .closeOnExec])
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
}
