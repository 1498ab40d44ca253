internal import Glibc
internal import Synchronization

/// The names in /dev/shm of the memory through which ranks of one host send.
///
/// Open MPI creates a file a rank, 4 MiB and more, and removes it at the end; a job that is killed
/// leaves it, and it takes memory until somebody removes it or the machine restarts. Once all ranks
/// have mapped the files nobody needs their names any more.
///
/// Windows need no such care: Open MPI removes their names itself when all ranks have mapped them.
public enum SegmentNames {
  private static let removed = Mutex<[String]>([])

  /// Removes the names of this rank's segments.
  ///
  /// To be called when every rank has initialized MPI, as after a barrier: initialization maps the
  /// segments of all ranks of the host.
  public static func remove() {
    guard let rank = localRank else { return }
    let own = text(ofFile: "/proc/self/maps").split(separator: "\n").compactMap { line in
      line.firstIndex(of: "/").map { String(line[$0...]) }
    }.filter { path in
      (path.hasPrefix("/dev/shm/vader_segment.") || path.hasPrefix("/dev/shm/sm_segment."))
        && path.hasSuffix(".\(rank)")
    }
    let unlinked = Set(own).filter { unsafe unlink($0) == 0 }
    removed.withLock { $0 += unlinked }
  }

  /// Gives the names to empty files: Open MPI complains where it cannot remove what it has created.
  static func restore() {
    for path in removed.withLock({ $0 }) {
      close(unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600))
    }
    removed.withLock { $0 = [] }
  }

  /// This rank's number on its host, of which Open MPI makes the name.
  private static var localRank: String? {
    unsafe getenv("OMPI_COMM_WORLD_LOCAL_RANK").map { unsafe String(cString: $0) }
  }

  private static func text(ofFile path: String) -> String {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = unsafe piece.withUnsafeMutableBytes {
        unsafe read(descriptor, $0.baseAddress, $0.count)
      }
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += piece[..<count]
    }
  }
}
