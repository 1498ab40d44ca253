import FoundationEssentials
import Glibc

/// The file in which a rank notes what it has finished.
///
/// It is replaced as a whole, and so is never half written. It is written when a window is finished, at
/// most once a second, and when the process is told to stop: what a signal costs is the windows that
/// were being computed, and what a crash costs is a second more.
struct StreamCheckpoint {
  private struct Contents: Codable {
    let settings: [String: String]
    let state: StreamState
  }

  private let path: String
  private let settings: [String: String]
  private(set) var state = StreamState()
  private var lastWrite = ContinuousClock.now
  private var isWritten = true

  /// Takes up what an earlier run has left, or begins a file.
  ///
  /// - Throws: a ``UserError`` if there is a file of another run, or none can be written.
  init(file: String, rank: Int, windows: Int, settings: [String: String]) throws {
    path = "\(file).\(rank)"
    self.settings = settings
    if unsafe access(path, F_OK) == 0 {
      try read(windows: windows)
    } else {
      try write()
    }
  }

  private mutating func read(windows: Int) throws {
    guard let data = try? Data(contentsOf: URL(filePath: path)),
      JSONKeys.repeated(in: Array(data)) == nil,
      let contents = try? JSONDecoder().decode(Contents.self, from: data),
      (0...windows).contains(contents.state.windows)
        || contents.settings != settings
    else {
      throw UserError(
        "'\(path)' is not a checkpoint of gyre stream; remove it, or give another --checkpoint.")
    }
    for name in settings.keys.sorted() where contents.settings[name] != settings[name] {
      throw ArgumentError(
        "'\(path)' is of a run with \(name) \(contents.settings[name] ?? "unknown"), and this one "
          + "has \(settings[name] ?? ""); use the same options, or another --checkpoint.")
    }
    state = contents.state
  }

  /// Notes what has been done, now or soon.
  mutating func note(_ state: StreamState) throws {
    self.state = state
    isWritten = false
    if ContinuousClock.now - lastWrite >= .seconds(1) { try write() }
  }

  /// Writes what has been noted.
  mutating func flush() throws {
    if !isWritten { try write() }
  }

  private mutating func write() throws {
    let bytes = try JSONEncoder().encode(Contents(settings: settings, state: state))
    let partial = path + ".partial"
    let descriptor = unsafe open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw unwritable(errno) }
    let written = unsafe bytes.withUnsafeBytes {
      unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
    }
    // The file system takes part of so few bytes only if it has no room for the rest.
    let failure =
      written < 0 ? errno : written < bytes.count ? ENOSPC : fsync(descriptor) == 0 ? 0 : errno
    close(descriptor)
    guard failure == 0 else { throw unwritable(failure) }
    guard unsafe rename(partial, path) == 0 else { throw unwritable(errno) }
    isWritten = true
    lastWrite = .now
  }

  private func unwritable(_ number: Int32) -> UserError {
    let reason = unsafe String(cString: strerror(number))
    return UserError(
      "'\(path)' cannot be written: \(reason); name a file in a folder that exists and has space.")
  }
}
