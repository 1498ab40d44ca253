import FoundationEssentials
import Glibc
import Reporting
import Tensors

/// The file in which a rank notes what it has finished.
///
/// It is replaced as a whole, and so is never half written. It is written when a window is
/// finished, at most once a second, and when the process is told to stop: what a signal costs is
/// the windows that were being computed, and what a crash costs is a second more. A rank holds a
/// lock on it, which ends with the process: two runs do not write one checkpoint.
struct StreamCheckpoint {
  private struct Contents: Codable {
    let settings: [String: String]
    /// Of the file that is read; nil of random tensors.
    let input: FileFingerprint?
    let state: StreamState
  }

  private let target: OutputTarget
  private let settings: [String: String]
  private let input: FileFingerprint?
  private(set) var state = StreamState()
  private var lock: FileLock?
  private var lastWrite = ContinuousClock.now
  private var isWritten = true

  /// Takes up what an earlier run has left, or begins a file.
  ///
  /// - Throws: a ``UserError`` if there is a file of another run, one that is in use, or none can
  ///   be written.
  init(
    _ target: OutputTarget, windows: Int, settings: [String: String], input: FileFingerprint?
  ) throws {
    self.target = target
    self.settings = settings
    self.input = input
    lock = try FileLock.acquire(target.path)
    if lock != nil { try read(windows: windows) }
    // Also what was read: to find now, and not later, that it cannot be written.
    try write()
  }

  private mutating func read(windows: Int) throws {
    guard let data = try? Data(contentsOf: URL(filePath: target.path)),
      JSONKeys.repeated(in: Array(data)) == nil,
      let contents = try? JSONDecoder().decode(Contents.self, from: data),
      (0...windows).contains(contents.state.windows)
        || contents.settings != settings
    else {
      throw UserError(
        "'\(target.path)' is not a checkpoint of gyre stream; remove it, or give another "
          + "--checkpoint.")
    }
    for name in settings.keys.sorted() where contents.settings[name] != settings[name] {
      throw UserError.usage(
        "'\(target.path)' is of a run with \(name) \(contents.settings[name] ?? "unknown"), and "
          + "this one has \(settings[name] ?? ""); use the same options, or another --checkpoint.")
    }
    guard contents.input == input else {
      throw UserError.usage(
        "'\(target.path)' is of another input '\(settings["input"] ?? "")' than the one that is "
          + "there now (\(difference(from: contents.input))); put the first one back, or give "
          + "another --checkpoint to begin anew.")
    }
    state = contents.state
  }

  /// In which way the input that was read before differs from the present one.
  private func difference(from earlier: FileFingerprint?) -> String {
    guard let earlier, let input else { return "the checkpoint does not say which it read" }
    if earlier.byteCount != input.byteCount {
      return "it had \(earlier.byteCount) bytes and has \(input.byteCount)"
    }
    return earlier.contents == input.contents
      ? "it was changed since" : "its contents are different"
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
    let contents = Contents(settings: settings, input: input, state: state)
    // Two runs that began it at the same moment have both found no file to lock.
    if let lock, !lock.isOf(target.path), unsafe access(target.path, F_OK) == 0 {
      throw FileLock.inUse(target.path)
    }
    lock = try target.write(Array(JSONEncoder().encode(contents)))
    isWritten = true
    lastWrite = .now
  }
}
