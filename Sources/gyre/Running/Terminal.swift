import Glibc
import MPI
import Reporting

/// The terminal that somebody watches the job on.
enum Terminal {
  /// Opens the terminal for progress, if standard error goes to one.
  ///
  /// Under mpirun a rank's standard error is a pipe to mpirun, which copies it to its own; so it is
  /// mpirun's that is looked at, and the line is drawn on the terminal itself. `Launch/local`,
  /// which filters what mpirun says, tells by `GYRE_PROGRESS` what its own standard error is.
  ///
  /// - Returns: the terminal, or nil if nobody watches.
  static func openForProgress() -> ProgressPlace? {
    if isatty(STDERR_FILENO) == 1 { return .terminal(STDERR_FILENO) }
    let isAnnounced = unsafe getenv("GYRE_PROGRESS") != nil
    guard isAnnounced || isTerminal("/proc/\(getppid())/fd/\(STDERR_FILENO)") else { return nil }
    let terminal = unsafe open("/dev/tty", O_WRONLY | O_NOCTTY | O_CLOEXEC)
    return terminal >= 0 ? .terminal(terminal) : nil
  }

  /// Where rank 0 of a job tells how far a benchmark is, whoever may read it; nil on the others.
  static func forProgress(of world: borrowing Communicator) -> ProgressPlace? {
    world.rank == 0 ? openForProgress() ?? .log(STDERR_FILENO) : nil
  }

  private static func isTerminal(_ path: String) -> Bool {
    let descriptor = unsafe open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return isatty(descriptor) == 1
  }

  /// How wide the terminal is that standard output goes to; nil if it goes elsewhere, or nobody
  /// knows.
  ///
  /// Under mpirun a rank's standard output goes to mpirun, which copies it to its own.
  static var outputColumns: Int? {
    let path = MPIEnvironment.isLaunchedByMPI ? "/proc/\(getppid())/fd/1" : "/proc/self/fd/1"
    let descriptor = unsafe open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    guard isatty(descriptor) == 1 else { return nil }
    if let told = unsafe getenv("COLUMNS").flatMap({ unsafe Int(String(cString: $0)) }), told > 0 {
      return told
    }
    var size = winsize()
    guard unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else {
      return nil
    }
    return Int(size.ws_col)
  }
}
