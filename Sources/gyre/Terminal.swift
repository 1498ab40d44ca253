import Glibc

/// The terminal that somebody watches the job on.
enum Terminal {
  /// Opens the terminal for progress, if standard error goes to one.
  ///
  /// Under mpirun a rank's standard error is a pipe to mpirun, which copies it to its own; so it is
  /// mpirun's that is looked at, and the line is drawn on the terminal itself. `Launch/local`, which
  /// filters what mpirun says, tells by `GYRE_PROGRESS` what its own standard error is.
  ///
  /// - Returns: a file descriptor to write to, or nil if nobody watches.
  static func openForProgress() -> Int32? {
    if isatty(STDERR_FILENO) == 1 { return STDERR_FILENO }
    let isAnnounced = unsafe getenv("GYRE_PROGRESS") != nil
    guard isAnnounced || isTerminal("/proc/\(getppid())/fd/\(STDERR_FILENO)") else { return nil }
    let terminal = unsafe open("/dev/tty", O_WRONLY | O_NOCTTY | O_CLOEXEC)
    return terminal >= 0 ? terminal : nil
  }

  private static func isTerminal(_ path: String) -> Bool {
    let descriptor = unsafe open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return isatty(descriptor) == 1
  }
}
