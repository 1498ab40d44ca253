import Glibc
internal import SystemPackage

/// Files under construction that other processes have begun for the same target.
struct Leftovers {
  private let folder: FilePath
  private let prefix: String

  /// What the name of a file under construction begins with.
  static func prefix(of name: String) -> String { ".\(name).partial-" }

  init(of target: FilePath) {
    folder = OutputTarget.folder(of: target)
    prefix = Self.prefix(of: target.lastComponent?.string ?? "")
  }

  /// Removes the files whose processes have died.
  ///
  /// Who writes a file holds a lock on it. A file whose lock is free has nobody any more; where the
  /// file system has no locks nothing can be told, and nothing is removed.
  ///
  /// - Returns: the paths of the removed files, and of one that is being written, if there is any.
  func removeDead() -> (removed: [String], living: String?) {
    var (removed, living) = ([String](), String?.none)
    for name in names() {
      let path = folder.appending(name).string
      // Neither a pipe to wait at nor a link to follow.
      let descriptor = unsafe open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)
      guard descriptor >= 0 else { continue }
      defer { close(descriptor) }
      guard FileIdentity(regularFileOf: descriptor) != nil else { continue }
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 {
        if unsafe unlink(path) == 0 { removed.append(path) }
      } else if errno == EWOULDBLOCK {
        living = path
      }
    }
    return (removed, living)
  }

  private func names() -> [String] {
    guard let stream = unsafe opendir(folder.string) else { return [] }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
        unsafe $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) {
          unsafe String(cString: $0)
        }
      }
      if name.hasPrefix(prefix) { names.append(name) }
    }
    return names.sorted()
  }
}
