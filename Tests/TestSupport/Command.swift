internal import Subprocess

/// A process of the tests, bounded in time together with all that it starts.
public enum Command {
  /// Runs `executable` and collects what it writes.
  ///
  /// The process leads a session of its own. At the end, or after `timeoutSeconds`, whatever is
  /// left in that session is killed: mpirun gives each rank a process group of its own, so that
  /// killing the group of mpirun would miss them.
  ///
  /// - Parameters:
  ///   - executable: a path, or a name to be found in PATH.
  ///   - arguments: its arguments.
  ///   - environment: variables added to those of the tests and of ``QuickStart``.
  ///   - standardInput: what it reads.
  ///   - timeoutSeconds: after how long it is killed.
  /// - Returns: how it ended, and what it wrote.
  /// - Throws: where it cannot be started.
  public static func run(
    _ executable: String, arguments: [String], environment: [String: String] = [:],
    standardInput: String = "", timeoutSeconds: Double
  ) async throws -> CommandResult {
    var options = PlatformOptions()
    options.createSession = true
    let variables = QuickStart.variables.merging(environment) { $1 }
    let changes = variables.compactMap { name, value in
      Environment.Key(rawValue: name).map { ($0, Optional(value)) }
    }
    let clock = ContinuousClock()
    let start = clock.now
    let result = try await Subprocess.run(
      // env takes a path as well as a name, and leaves its place to the command.
      .name("env"), arguments: Arguments([executable] + arguments),
      environment: .inherit.updating(Dictionary(uniqueKeysWithValues: changes)),
      platformOptions: options, input: .string(standardInput), output: .sequence, error: .sequence
    ) { execution in
      let session = execution.processIdentifier.value
      let watchdog = Task {
        do { try await Task.sleep(for: .seconds(timeoutSeconds)) } catch { return false }
        await execution.teardown(using: [
          .gracefulShutDown(allowedDurationToNextStep: .seconds(3))
        ])
        Session.killAll(in: session)
        return true
      }
      async let output = text(of: execution.standardOutput)
      async let error = text(of: execution.standardError)
      let texts = try await (output, error)
      watchdog.cancel()
      return (texts, timedOut: await watchdog.value, session)
    }
    let ((output, error), timedOut, session) = result.closureResult
    Session.killAll(in: session)
    return CommandResult(
      ending: timedOut ? .timedOut : Self.ending(result.terminationStatus),
      standardOutput: output, standardError: error,
      seconds: (clock.now - start) / .seconds(1))
  }

  private static func text(of sequence: SubprocessOutputSequence) async throws -> String {
    var bytes: [UInt8] = []
    for try await buffer in sequence {
      unsafe buffer.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func ending(_ status: TerminationStatus) -> CommandResult.Ending {
    switch status {
    case .exited(let code): .exited(Int(code))
    case .signaled(let signal): .signaled(Int(signal))
    }
  }
}
