import Glibc
import Reporting
import Settings
import Tensors

/// The files that a run reads and writes, of which no two may be the same where one is written.
///
/// Files are told apart by device and inode, so that `out`, `./out`, an absolute path, a link and a
/// second name of one file are one. A run names all its files here before it works.
struct RunFiles {
  private struct Entry {
    let identity: FileIdentity
    /// As `--trace 't.json'`.
    let name: String
    let isWritten: Bool
  }

  private var entries: [Entry] = []

  /// Begins with the settings file and with standard output, if that goes to a file.
  init(settings: SettingsOptions) {
    if let identity = FileIdentity(regularFileOf: STDOUT_FILENO) {
      entries.append(Entry(identity: identity, name: "standard output", isWritten: true))
    }
    if let path = settings.settings, let identity = FileIdentity(existing: path) {
      entries.append(
        Entry(identity: identity, name: "the settings file '\(path)'", isWritten: false))
    }
  }

  /// Names a file that is read; whether it can be is for others to say.
  mutating func read(_ path: String?, as what: String) throws {
    guard let path, let identity = FileIdentity(existing: path) else { return }
    try add(Entry(identity: identity, name: "\(what) '\(path)'", isWritten: false))
  }

  /// Names a file that is written.
  ///
  /// - Returns: its place, where it can be written.
  mutating func write(
    _ path: String, as what: String, existing: OutputTarget.Existing = .replace
  ) throws -> OutputTarget {
    let target = try OutputTarget(path, existing: existing)
    try add(Entry(identity: target.identity, name: "\(what) '\(path)'", isWritten: true))
    return target
  }

  private mutating func add(_ entry: Entry) throws {
    if let other = entries.first(where: {
      $0.identity == entry.identity && ($0.isWritten || entry.isWritten)
    }) {
      throw UserError.usage(
        "\(entry.name) is the same file as \(other.name); give each file a name of its own.")
    }
    entries.append(entry)
  }
}
