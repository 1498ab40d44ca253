import Foundation
import TestSupport

/// A Slurm of one host with four CPUs, which only one test uses and which goes with it.
///
/// Its own files and those of its jobs are in one folder.
final class SlurmMachine {
  /// Whether this machine lets the tests start one.
  static let canBeStarted: Bool = {
    let outcome = try? Script.run(
      "/bin/sh",
      [
        "-c",
        """
        PATH=$PATH:/usr/sbin:/sbin
        [ "$(id -u)" = 0 ] && command -v munged slurmctld slurmd sbatch scontrol mpirun
        """,
      ])
    return outcome?.code == 0
  }()

  static let reason = "a Slurm of the tests' own needs root, slurm-wlm and munge"

  private let files: TemporaryFolder
  /// Where jobs are submitted; it has Gyre's `Launch` in it, but is not Gyre's folder.
  let folder: TemporaryFolder

  init() throws {
    files = try TemporaryFolder()
    folder = try TemporaryFolder()
    let outcome = try Script.run(
      Self.script, ["up", files.path, "\(ProcessInfo.processInfo.processIdentifier)"])
    guard outcome.code == 0 else { throw Failure(message: outcome.errors) }
  }

  deinit {
    _ = try? Script.run(Self.script, ["down", files.path])
  }

  private static let script = "Tests/Programs/one-machine-slurm"

  struct Failure: Error { let message: String }

  /// Variables with which Slurm's commands reach it, and with which the script runs the tests'
  /// gyre.
  var environment: [String: String] {
    [
      "SLURM_CONF": "\(files.path)/slurm.conf",
      "GYRE_BINARY": BuiltProducts.executable("gyre"),
    ]
  }

  /// Runs a command in the folder.
  func run(
    _ command: String, _ arguments: [String], environment: [String: String] = [:]
  ) throws -> Outcome {
    try Script.run(
      "/usr/bin/env", [command] + arguments,
      environment: self.environment.merging(environment) { $1 }, directory: folder.url)
  }

  /// Submits `Launch/slurm.sbatch` and returns the job's number.
  func submit(
    _ options: [String] = [], _ command: [String], environment: [String: String] = [:]
  ) throws -> String {
    let script = Script.root.appending(path: "Launch/slurm.sbatch").path
    let outcome = try run(
      "sbatch", ["--parsable", "--ntasks=2"] + options + [script] + command,
      environment: environment)
    guard outcome.code == 0 else { throw Failure(message: outcome.errors) }
    return outcome.output.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// One of the fields that `scontrol show job` prints.
  func field(_ name: String, of job: String) throws -> String {
    let words = try run("scontrol", ["show", "job", job]).output.split(
      whereSeparator: \.isWhitespace)
    return words.first { $0.hasPrefix("\(name)=") }.map { String($0.dropFirst(name.count + 1)) }
      ?? ""
  }

  /// Waits until something is true, for so many seconds at most; returns whether it came true.
  func wait(seconds: Double, until isTrue: () throws -> Bool) throws -> Bool {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while try !isTrue() {
      guard ContinuousClock.now < deadline else { return false }
      Thread.sleep(forTimeInterval: 0.1)
    }
    return true
  }

  /// Waits for a job's end; returns its state, as in `COMPLETED`.
  func end(of job: String, within seconds: Double) throws -> String {
    _ = try wait(seconds: seconds) {
      ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"].contains(try field("JobState", of: job))
    }
    return try field("JobState", of: job)
  }

  /// What a job has printed, on either stream.
  func output(of job: String) throws -> String {
    try String(contentsOf: folder.url.appending(path: "slurm-\(job).out"), encoding: .utf8)
  }
}
