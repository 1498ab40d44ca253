import Glibc

/// What makes two paths the same file, however they are written.
///
/// A file is known by its device and inode; one that is not there yet by its folder's and its name.
public enum FileIdentity: Hashable, Sendable {
  /// A file that is there.
  case present(device: UInt64, inode: UInt64)
  /// A file that would be created in a folder.
  case absent(folderDevice: UInt64, folderInode: UInt64, name: String)

  /// The file that `path` leads to, links followed; nil where there is none.
  public init?(existing path: String) {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    self.init(status)
  }

  /// The regular file behind a descriptor; nil where it is closed, a terminal, a pipe or a device.
  public init?(regularFileOf descriptor: Int32) {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      return nil
    }
    self.init(status)
  }

  init(_ status: stat) {
    self = .present(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
  }
}
