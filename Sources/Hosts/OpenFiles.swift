import Glibc
import Reporting

/// How many files and connections a process may have open.
package enum OpenFiles {
  /// More than any job needs; what closes all files that there might be takes the longer the more
  /// that is.
  private static let ceiling: rlim_t = 65_536

  /// What mpirun needs for itself, and for each rank that it starts on its host; measured with Open
  /// MPI 4.1.
  private static let ofLauncher = 27
  private static let ofRank = 4

  /// The limits, of which the first is in effect and can be raised to the second; nil is none.
  package static var limits: (soft: Int?, hard: Int?) {
    guard let limits = current else { return (nil, nil) }
    func number(_ limit: rlim_t) -> Int? { limit == rlim_t.max ? nil : Int(clamping: limit) }
    return (number(limits.rlim_cur), number(limits.rlim_max))
  }

  /// The limit that this process was started with, which is that of the shell and of mpirun.
  package static let softLimitAtStart = limits.soft

  /// Raises the limit as far as a rank of a large job needs it.
  package static func raiseLimit() {
    _ = softLimitAtStart
    guard var limits = current else { return }
    let wanted = min(limits.rlim_max, ceiling)
    guard limits.rlim_cur < wanted else { return }
    limits.rlim_cur = wanted
    unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
  }

  /// How many ranks of a host mpirun can start with so many open files.
  package static func ranks(with limit: Int) -> Int { max(0, (limit - ofLauncher) / ofRank) }

  /// Says that the mpirun which has started this rank cannot start all: Open MPI would wait for the
  /// others without end.
  package static func requireLaunch() {
    func number(_ name: String) -> Int? {
      unsafe getenv(name).flatMap { unsafe Int(String(cString: $0)) }
    }
    guard let ranks = number("OMPI_COMM_WORLD_LOCAL_SIZE"), let limit = softLimitAtStart,
      ranks > Self.ranks(with: limit)
    else { return }
    if number("OMPI_COMM_WORLD_LOCAL_RANK") == 0 {
      printError(
        "gyre: mpirun needs \(ofLauncher + ofRank * ranks) open files for \(ranks) ranks of a "
          + "host, and "
          + "may have \(limit): ulimit -n 4096 before mpirun, or start it with Launch/local.")
    }
    exit(EXIT_FAILURE)
  }

  private static var current: rlimit? {
    var limits = rlimit()
    let code = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
    return code == 0 ? limits : nil
  }
}
