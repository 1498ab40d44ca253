import Foundation
import TestSupport
import Testing

/// Jobs of a real Slurm.
@Suite(
  .enabled(if: SlurmMachine.canBeStarted, "\(SlurmMachine.reason)"), .timeLimit(.minutes(2)))
struct SlurmTests {
  private struct AttendReport: Decodable {
    let ranks: Int
    let threads: Int
    let maxError: Double
    let tolerance: Double
  }

  private struct StreamReport: Decodable {
    let outputDigest: String
    let resumedWindows: Int
    let windows: Int
  }

  /// The JSON object among the lines of a job's output.
  private func report<Report: Decodable>(in output: String) throws -> Report {
    let line = try #require(output.split(separator: "\n").last { $0.hasPrefix("{") }, "\(output)")
    return try JSONDecoder().decode(Report.self, from: Data(line.utf8))
  }

  /// From a folder that is not Gyre's, with a thread for each CPU of a task.
  @Test func aJobIsRight() throws {
    let slurm = try SlurmMachine()
    let job = try slurm.submit(
      ["--cpus-per-task=2"],
      [
        "attend", "--random", "1x2049x4x2x64", "--causal", "--verify", "--report", "json",
        "--output", "out.safetensors",
      ])
    #expect(try slurm.end(of: job, within: 120) == "COMPLETED")
    #expect(try slurm.field("ExitCode", of: job) == "0:0")
    let report: AttendReport = try report(in: slurm.output(of: job))
    #expect(report.ranks == 2 && report.threads == 2)
    #expect(report.maxError > 0 && report.maxError <= report.tolerance)
    #expect(slurm.folder.names == ["out.safetensors", "slurm-\(job).out"])
  }

  /// Without PMI, tasks of srun would each do the whole job.
  @Test func tasksThatDoNotFindEachOtherAreRefused() throws {
    let slurm = try SlurmMachine()
    let gyre = BuiltProducts.executable("gyre")
    let problem = ["attend", "--random", "1x64x2x2x8", "--report", "json"]
    let tasks = try slurm.run("srun", ["--ntasks=2", "--quiet", gyre] + problem)
    #expect(tasks.code == 1 && tasks.output == "", "\(tasks)")
    #expect(tasks.errors.contains("srun has started 2 ranks"), "\(tasks.errors)")
    let task = try slurm.run("srun", ["--ntasks=1", "--quiet", gyre] + problem)
    #expect(task.code == 0, "\(task.errors)")
  }

  /// More ranks than the job has tasks.
  @Test(arguments: [["srun"], ["salloc", "--quiet"]])
  func localRanksNeedNoTasks(command: [String]) throws {
    let slurm = try SlurmMachine()
    let local = Script.root.appending(path: "Launch/local").path
    let outcome = try slurm.run(
      command[0],
      Array(command.dropFirst())
        + ["--ntasks=1", "--cpus-per-task=2", local, "-n", "3", "attend", "--random", "1x64x2x2x8"])
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output.contains("on 3 ranks"), "\(outcome.output)")
  }

  @Test func theExitCodeIsTheJobs() throws {
    let slurm = try SlurmMachine()
    let job = try slurm.submit(
      [], ["attend", "--random", "1x64x2x2x64", "--threads", "0"],
      environment: ["OMPI_MCA_odls_base_sigkill_timeout": "1"])
    #expect(try slurm.end(of: job, within: 120) == "FAILED")
    #expect(try slurm.field("ExitCode", of: job) == "64:0")
    #expect(try slurm.output(of: job).contains("--threads is 0"))
  }

  /// The signal that `#SBATCH --signal` asks for, and the one that preemption and scancel send.
  @Test(arguments: [["--signal=USR1", "--batch"], []])
  func aJobThatIsToldToStopLeavesNothingHalfDone(signal: [String]) throws {
    let slurm = try SlurmMachine()
    let job = try slurm.submit(
      [],
      ["attend", "--random", "1x262144x4x4x64", "--causal", "--output", "out.safetensors"])
    let hasBegun = try slurm.wait(seconds: 60) {
      slurm.folder.names.contains { $0.hasPrefix(".out.safetensors.partial-") }
    }
    #expect(hasBegun, "\(slurm.folder.names)")
    #expect(try slurm.run("scancel", signal + [job]).code == 0)
    let state = try slurm.end(of: job, within: 120)
    #expect(state == (signal.isEmpty ? "CANCELLED" : "FAILED"))
    #expect(try slurm.field("ExitCode", of: job) == "75:0")
    #expect(try slurm.output(of: job).contains("told to stop"))
    #expect(slurm.folder.names == ["slurm-\(job).out"])
  }

  /// A job that goes back into the queue goes on where it stopped, to the same digest.
  @Test func aRequeuedJobGoesOnFromItsCheckpoint() throws {
    let slurm = try SlurmMachine()
    let command = [
      "stream", "--random", "1x262144x2x2x64", "--dilated", "2048:1,4096:2", "--window", "4096",
      "--report", "json",
    ]
    let job = try slurm.submit(
      [], command + ["--checkpoint", "done"],
      environment: ["GYRE_REQUEUE": "1", "OMPI_MCA_odls_base_sigkill_timeout": "2"])
    let hasBegun = try slurm.wait(seconds: 60) { slurm.folder.names.contains("done.0") }
    #expect(hasBegun)
    #expect(try slurm.run("scancel", ["--signal=USR1", "--batch", job]).code == 0)
    // It starts again when the credentials of its first run have expired; told to start sooner, it
    // is refused where it ran.
    let isDone = try slurm.wait(seconds: 100) {
      try slurm.field("JobState", of: job) == "COMPLETED"
    }
    #expect(isDone)
    #expect(try slurm.field("Restarts", of: job) == "1")
    let resumed: StreamReport = try report(in: slurm.output(of: job))
    #expect(resumed.resumedWindows > 0 && resumed.resumedWindows < resumed.windows)

    let whole = try slurm.submit([], command)
    #expect(try slurm.end(of: whole, within: 120) == "COMPLETED")
    let expected: StreamReport = try report(in: slurm.output(of: whole))
    #expect(expected.resumedWindows == 0)
    #expect(resumed.outputDigest == expected.outputDigest)
  }

  /// The script runs as a copy in a folder of Slurm's: whoever hides the package is told what to
  /// do.
  @Test func aPackageThatCannotBeFoundIsSaid() throws {
    let slurm = try SlurmMachine()
    let copy = slurm.folder.path + "/job"
    try FileManager.default.copyItem(
      atPath: Script.root.appending(path: "Launch/slurm.sbatch").path, toPath: copy)
    let submitted = try slurm.run("sbatch", ["--parsable", copy, "attend"])
    let job = submitted.output.trimmingCharacters(in: .whitespacesAndNewlines)
    #expect(try slurm.end(of: job, within: 120) == "FAILED")
    #expect(try slurm.field("ExitCode", of: job) == "64:0")
    let lines = try slurm.output(of: job).split(separator: "\n")
    #expect(lines.count == 1 && lines[0].contains("GYRE_HOME="), "\(lines)")
  }
}
