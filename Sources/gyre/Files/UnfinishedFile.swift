import Glibc
import MPI

/// The file that this process has begun and not finished, which it removes if it is ended early.
///
/// mpirun sends SIGTERM to all ranks when one dies; a signal that ends a process without asking
/// anybody is answered the same way; and where mpirun itself is killed the kernel says so. Only
/// SIGKILL of this process leaves the file, for the next run with the same target to find.
enum UnfinishedFile {
  /// Removes the file at `path` from now on, if a signal ends this process.
  static func remember(path: String) {
    unsafe pathToRemove = unsafe strdup(path)
    unsafe parent = getppid()
    // One that nobody sends by accident.
    let parentsEnd = __libc_current_sigrtmax() - 1
    for number in 1...__libc_current_sigrtmax() { answer(number) }
    if MPIEnvironment.isLaunchedByMPI {
      handle(parentsEnd, parentMayBeGone)
      MPIEnvironment.requestSignalAtParentsEnd(parentsEnd)
    }
  }

  /// The file has its name.
  static func forget() {
    unsafe pathToRemove = nil
  }

  /// Removes the file, because this process is about to be ended.
  static func remove() {
    if let path = unsafe pathToRemove { unsafe unlink(path) }
  }

  /// Answers a signal that would end the process, and whatever else was to be done about it.
  private static func answer(_ number: Int32) {
    var present = sigaction()
    guard unsafe sigaction(number, nil, &present) == 0 else { return }
    let isDefault = unsafe present.__sigaction_handler.sa_handler == nil
    switch number {
    case SIGTERM, SIGINT, SIGHUP: handle(number, endInOrder)
    case SIGKILL, SIGSTOP, SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH: break
    // MPI's answer to a crash, or that of the Swift runtime, comes after this one.
    case SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP, SIGQUIT:
      unsafe earlierActions[Int(number)] = present
      handle(number, removeAndGoOn)
    default:
      if isDefault {
        unsafe earlierActions[Int(number)] = present
        handle(number, removeAndGoOn)
      }
    }
  }
}

/// The file, as C sees it.
nonisolated(unsafe) private var pathToRemove: UnsafeMutablePointer<CChar>?
/// mpirun, or its daemon.
nonisolated(unsafe) private var parent: pid_t = 0
/// What was to be done about signals before.
nonisolated(unsafe) private let earlierActions = UnsafeMutablePointer<sigaction>.allocate(
  capacity: 128)

private func handle(_ number: Int32, _ body: @escaping @convention(c) (Int32) -> Void) {
  var action = sigaction()
  unsafe action.__sigaction_handler.sa_handler = body
  _ = unsafe sigaction(number, &action, nil)
}

// Only what is allowed in a signal handler.

private func endInOrder(_ number: Int32) {
  UnfinishedFile.remove()
  _exit(128 + number)
}

private func removeAndGoOn(_ number: Int32) {
  UnfinishedFile.remove()
  _ = unsafe sigaction(number, earlierActions + Int(number), nil)
  raise(number)
}

private func parentMayBeGone(_ number: Int32) {
  guard unsafe getppid() != parent else { return }
  UnfinishedFile.remove()
  _exit(128 + SIGHUP)
}
