import Glibc
internal import SystemPackage

/// The place of a file that is to be written: where its links lead, and that it can be written
/// there.
///
/// ```swift
/// let target = try OutputTarget("figures/latest.json")  // before work
/// …
/// try target.write(Array(text.utf8))                    // whole, or not at all
/// ```
///
/// Links are followed, also to a file that does not exist yet: they stay, and what they lead to is
/// written. Only regular files are replaced, and keep their permissions.
public struct OutputTarget: Hashable, Sendable {
  /// What to do where a file of the name is there.
  public enum Existing: Hashable, Sendable {
    /// Replace it.
    case replace
    /// Leave it, and refuse.
    case keep
  }

  /// The path as it was given.
  public let path: String

  /// Which file it is.
  public let identity: FileIdentity

  /// The path with its last links followed.
  let resolvedPath: String

  let existing: Existing

  /// Finds out where a path leads, and whether a file can be written there.
  ///
  /// - Throws: A `TensorFileError` if the path names no file, or something that is no regular file,
  ///   or one that is read-only; if its folder is not there or must not be written to; or if a file
  ///   is there that is to be kept.
  public init(_ path: String, existing: Existing = .replace) throws(TensorFileError) {
    let resolved = try Self.resolve(path)
    let target = FilePath(resolved)
    guard let name = target.lastComponent, name.kind == .regular, !path.hasSuffix("/") else {
      throw TensorFileError(
        .unwritable, path: path, "it does not name a file", remedy: "add a file name to the path")
    }
    let folder = Self.folder(of: target)
    var status = stat()
    if unsafe lstat(resolved, &status) == 0 {
      try Self.check(status, path: path, resolved: resolved, existing: existing)
      identity = FileIdentity(status)
    } else if errno == ENOENT, unsafe stat(folder.string, &status) == 0 {
      identity = .absent(
        folderDevice: UInt64(status.st_dev), folderInode: UInt64(status.st_ino), name: name.string)
    } else {
      throw PartialFile.cannotCreate(path, folder: folder.string, path, Errno(rawValue: errno))
    }
    guard unsafe access(folder.string, W_OK | X_OK) == 0 else {
      throw PartialFile.cannotCreate(path, folder: folder.string, path, Errno(rawValue: errno))
    }
    self.path = path
    self.existing = existing
    resolvedPath = resolved
  }

  /// Writes the whole file: it appears complete, or an earlier one stays as it was.
  ///
  /// - Returns: a lock on the file, for whoever wants to keep it.
  /// - Throws: A `TensorFileError` if it cannot be written; nothing is left behind then.
  @discardableResult
  public func write(_ bytes: [UInt8]) throws(TensorFileError) -> FileLock {
    let token = String(UInt64.random(in: 0..<1 << 40), radix: 36)
    let file = try PartialFile(creating: self, token: token)
    do {
      try file.write(unsafe bytes.span.bytes, at: 0)
      try file.synchronize()
      try file.rename()
      return file.lock()
    } catch {
      file.remove()
      throw error
    }
  }

  /// Where the links at the end of a path lead, whether or not anything is there.
  static func resolve(_ path: String) throws(TensorFileError) -> String {
    var resolved = path
    // As many as the kernel follows.
    for _ in 0..<40 {
      var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
      let length = unsafe buffer.withUnsafeMutableBufferPointer { bytes in
        unsafe bytes.withMemoryRebound(to: CChar.self) {
          unsafe $0.baseAddress.map { unsafe readlink(resolved, $0, Int(PATH_MAX)) } ?? -1
        }
      }
      guard length > 0 else { return resolved }
      let destination = FilePath(String(decoding: buffer[..<length], as: UTF8.self))
      resolved =
        destination.isAbsolute
        ? destination.string : folder(of: FilePath(resolved)).pushing(destination).string
    }
    throw TensorFileError(
      .unwritable, path: path, "its links lead round in a circle", remedy: "name a file")
  }

  static func folder(of path: FilePath) -> FilePath {
    let folder = path.removingLastComponent()
    return folder.isEmpty ? "." : folder
  }

  private static func check(
    _ status: stat, path: String, resolved: String, existing: Existing
  ) throws(TensorFileError) {
    let kind = status.st_mode & S_IFMT
    if kind == S_IFDIR {
      throw TensorFileError(
        .unwritable, path: path, "it is a directory", remedy: "add a file name to the path")
    }
    guard kind == S_IFREG else {
      let name =
        switch kind {
        case S_IFIFO: "a pipe"
        case S_IFSOCK: "a socket"
        case S_IFCHR, S_IFBLK: "a device"
        default: "something else"
        }
      throw TensorFileError(
        .unwritable, path: path, "it is \(name) and not a regular file",
        remedy: "name a file, which is written beside its place and then put there")
    }
    // Root may write to read-only files too, but whoever made one read-only meant it.
    guard status.st_mode & 0o222 != 0, unsafe access(resolved, W_OK) == 0 else {
      throw TensorFileError(
        .unwritable, path: path, "the file that is there is read-only",
        remedy: "choose another name, or make it writable with chmod")
    }
    guard existing == .replace else {
      throw TensorFileError(
        .unwritable, path: path, "there is such a file, which is not to be overwritten",
        remedy: "choose another name, or remove the file")
    }
  }
}
