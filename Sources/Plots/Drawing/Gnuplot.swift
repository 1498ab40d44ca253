import FoundationEssentials
import Glibc
import Reporting

/// The program that draws.
struct Gnuplot {
  private let executable: String

  /// - Throws: a sentence with the remedy where gnuplot is not in PATH.
  init() throws {
    let folders = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    let candidates = folders.split(separator: ":").map { "\($0)/gnuplot" }
    guard let found = candidates.first(where: { unsafe access($0, X_OK) == 0 }) else {
      throw UserError("gnuplot is not in PATH; install it with apt-get install gnuplot-nox")
    }
    executable = found
  }

  /// Runs a script in its folder.
  ///
  /// - Throws: gnuplot's own words, if it fails.
  func run(_ script: String, in folder: String) throws {
    let words = folder + "/words"
    let code = try start(
      [executable, "-e", "cd \(GnuplotScript.quoted(folder))", "\(folder)/\(script)"], output: words
    )
    guard code == 0 else {
      let said = String(
        decoding: FileManager.default.contents(atPath: words) ?? Data(), as: UTF8.self
      ).split(separator: "\n").filter {
        !$0.allSatisfy(\.isWhitespace)
      }
      throw UserError(
        "gnuplot failed (version 5.4 or newer is needed) and said: "
          + (said.isEmpty ? "nothing" : said.joined(separator: " / ")))
    }
  }

  /// - Returns: the exit status, or that of a shell for a signal.
  private func start(_ arguments: [String], output: String) throws -> Int32 {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(
      &actions, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    unsafe posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
    var process = pid_t()
    var strings: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe strings.forEach { unsafe free($0) } }
    let error = unsafe posix_spawn(&process, executable, &actions, nil, &strings, environ)
    guard error == 0 else {
      throw UserError("\(executable) cannot be started: \(unsafe String(cString: strerror(error)))")
    }
    var status: Int32 = 0
    while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
    return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
  }
}
