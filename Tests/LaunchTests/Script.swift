import Foundation
import TestSupport

/// What a script did.
struct Outcome {
  var code: Int32
  var output: String
  var errors: String

  /// The lines on standard error.
  var complaints: [Substring] { errors.split(separator: "\n") }
}

/// A script of `Launch/` and how the tests run it.
enum Script {
  /// The package's folder, two above this file's.
  static let root = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// What takes longer has gone wrong, on a busy machine too.
  private static let limit = 300

  /// Runs an executable to its end, with nothing on standard input, or kills it after five minutes
  /// with all that it has started.
  ///
  /// `environment` is laid over the present one, from which everything that steers the scripts has
  /// been taken.
  static func run(
    _ executable: String, _ arguments: [String], environment: [String: String] = [:],
    directory: URL = root
  ) throws -> Outcome {
    var variables = ProcessInfo.processInfo.environment.merging(QuickStart.variables) { $1 }
    variables["GYRE_BINARY"] = nil
    variables["GYRE_CORES"] = nil
    variables["GYRE_THREADS"] = nil
    variables.merge(environment) { $1 }

    // Files, not pipes: neither stream can then fill up while the other is being read.
    let folder = try TemporaryFolder()
    let outputURL = try folder.write("", to: "output")
    let errorsURL = try folder.write("", to: "errors")

    let process = Process()
    process.executableURL = URL(filePath: executable, relativeTo: root)
    process.arguments = arguments
    process.environment = variables
    process.currentDirectoryURL = directory
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: outputURL)
    process.standardError = try FileHandle(forWritingTo: errorsURL)
    try withSignalsUnblocked { try process.run() }
    let watchdog = DispatchSource.makeTimerSource()
    let started = process.processIdentifier
    watchdog.setEventHandler { Session.killTree(of: started) }
    watchdog.schedule(deadline: .now() + .seconds(limit))
    watchdog.resume()
    process.waitUntilExit()
    watchdog.cancel()

    return Outcome(
      code: process.terminationStatus,
      output: try String(contentsOf: outputURL, encoding: .utf8),
      errors: try String(contentsOf: errorsURL, encoding: .utf8))
  }

  /// Starts a process that can be signalled.
  ///
  /// A child inherits the signal mask of the thread that starts it, and the threads that run tests
  /// block nearly every signal: mpirun would neither stop when told nor notice a rank's death.
  private static func withSignalsUnblocked(_ start: () throws -> Void) rethrows {
    var none = sigset_t()
    var before = sigset_t()
    unsafe sigemptyset(&none)
    unsafe pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    try start()
  }

  /// Runs `Launch/local`.
  static func local(
    _ arguments: String..., environment: [String: String] = [:]
  ) throws -> Outcome {
    try run("Launch/local", arguments, environment: environment)
  }
}

extension TemporaryFolder {
  var url: URL { URL(filePath: path) }

  @discardableResult
  func write(_ text: String, to name: String, executable: Bool = false) throws -> URL {
    let file = url.appending(path: name)
    try Data(text.utf8).write(to: file)
    if executable {
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file.path)
    }
    return file
  }

  /// An environment in which `name` is this shell script and every other command is the usual one.
  func shadowing(_ name: String, with script: String) throws -> [String: String] {
    try write("#!/bin/sh\n\(script)\n", to: name, executable: true)
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    return ["PATH": "\(url.path):\(path)"]
  }
}
