internal import Foundation
internal import Glibc

/// The processes of one session: a command and all that it has started.
enum Session {
  /// Kills every process whose session is `session`.
  ///
  /// The number cannot meanwhile belong to strangers: it stays taken while the session has members.
  static func killAll(in session: pid_t) {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    for process in names.compactMap(pid_t.init) where Self.session(of: process) == session {
      kill(process, SIGKILL)
    }
  }

  /// The session of a process; nil if it is gone.
  private static func session(of process: pid_t) -> pid_t? {
    guard let line = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
      // The name, in parentheses, may hold anything; state, parent, group and session follow it.
      let end = line.lastIndex(of: ")")
    else { return nil }
    let fields = line[line.index(after: end)...].split(separator: " ")
    return fields.count > 3 ? pid_t(fields[3]) : nil
  }
}
