internal import Foundation
internal import Glibc

/// The processes of a command and of all that it has started.
public enum Session {
  /// Kills every process whose session is `session`.
  ///
  /// The number cannot meanwhile belong to strangers: it stays taken while the session has members.
  static func killAll(in session: pid_t) {
    for process in processes where field(3, of: process) == session { kill(process, SIGKILL) }
  }

  /// Kills a process and those that it has started, directly or not.
  ///
  /// They may be in sessions of their own, but not yet orphans.
  public static func killTree(of process: Int32) {
    // Nobody in it starts anything meanwhile.
    kill(process, SIGSTOP)
    for child in processes where field(1, of: child) == process { killTree(of: child) }
    kill(process, SIGKILL)
  }

  private static var processes: [pid_t] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap(pid_t.init)
  }

  /// A number of a process: 1 is its parent, 3 its session; nil if it is gone.
  private static func field(_ index: Int, of process: pid_t) -> pid_t? {
    guard let line = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
      // The name, in parentheses, may hold anything; state, parent, group and session follow it.
      let end = line.lastIndex(of: ")")
    else { return nil }
    let fields = line[line.index(after: end)...].split(separator: " ")
    return fields.count > index ? pid_t(fields[index]) : nil
  }
}
