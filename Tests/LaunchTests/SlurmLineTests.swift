import Foundation
import TestSupport
import Testing

/// What `Launch/slurm.sbatch` decides, without Slurm.
@Suite struct SlurmLineTests {
  /// The printed line in a job of this many tasks and CPUs a task, without the root user's option
  /// and the binary; `wholeHost` is whether the job has all CPUs of its first host.
  private func line(
    tasks: String?, cpusPerTask: String?, wholeHost: Bool = true, cores: Int? = 8, hosts: Int = 4,
    on machine: [String: String] = [:], _ command: [String]
  ) throws -> String {
    var environment = machine
    environment["GYRE_BINARY"] = "/bin/sh"
    environment["GYRE_CORES"] = cores.map { "\($0)" }
    environment["SLURM_NNODES"] = "\(hosts)"
    environment["SLURM_CPUS_ON_NODE"] = wholeHost ? "100000" : "1"
    environment["SLURM_NTASKS"] = tasks
    environment["SLURM_TASKS_PER_NODE"] = "2(x3),1"
    environment["SLURM_CPUS_PER_TASK"] = cpusPerTask
    let outcome = try Script.run(
      "Launch/slurm.sbatch", ["--dry-run"] + command, environment: environment)
    #expect(outcome.code == 0 && outcome.errors == "", "\(outcome.errors)")
    let binary = try FileManager.default.destination(of: "/bin/sh")
    return outcome.output.replacing(" --allow-run-as-root", with: "")
      .replacing(binary, with: "gyre").trimmingCharacters(in: .newlines)
  }

  @Test func everyTaskIsARankBoundToItsCPUs() throws {
    #expect(
      try line(tasks: "7", cpusPerTask: "4", ["attend", "two words"])
        == #"mpirun --map-by slot:PE=4 -n 7 gyre attend two\ words --threads 4"#)
    #expect(
      try line(tasks: "7", cpusPerTask: nil, ["attend"])
        == "mpirun --map-by slot --bind-to numa:if-supported -n 7 gyre attend")
  }

  /// A host is one rank, or each of its nodes is, where the job has it whole.
  @Test func aJobWithoutTasksHasARankForEachHost() throws {
    #expect(
      try line(tasks: nil, cpusPerTask: nil, hosts: 3, ["attend"])
        == "mpirun --map-by slot --bind-to numa:if-supported -n 3 gyre attend")
    let folder = try TemporaryFolder()
    let cpus = ProcessInfo.processInfo.processorCount
    let list = (0..<cpus).map { "\($0),\($0),\($0)" }.joined(separator: "\\n")
    let shadow = try folder.shadowing("lscpu", with: "printf '\(list)\\n'")
    #expect(
      try line(tasks: nil, cpusPerTask: nil, cores: nil, hosts: 3, on: shadow, ["attend"])
        == "mpirun --oversubscribe --map-by slot --bind-to numa:if-supported -n \(3 * cpus) "
        + "gyre attend")
  }

  @Test(
    arguments: [
      (["attend", "--threads", "2"], "PE=2 -n 7 gyre attend --threads 2"),
      (["stream", "--threads=2"], "PE=2 -n 7 gyre stream --threads=2"),
      (["stream"], "PE=3 -n 7 gyre stream --threads 3"),
      (["bench", "kernel"], "PE=3 -n 7 gyre bench kernel"),
      (["bench", "strong"], "PE=3 -n 7 gyre bench strong --threads 3"),
    ])
  func threadsAreGivenWhereTheyAreTakenAndNotGivenYet(command: [String], end: String) throws {
    #expect(try line(tasks: "7", cpusPerTask: "3", command).hasSuffix(end))
  }

  @Test func ranksAreBoundOnlyWhereTheJobHasTheHost() throws {
    #expect(
      try line(tasks: "7", cpusPerTask: nil, wholeHost: false, ["attend"])
        == "mpirun --bind-to none -n 7 gyre attend --threads 1")
    #expect(
      try line(tasks: "7", cpusPerTask: "4", cores: 7, ["attend"])
        == "mpirun --bind-to none --mca mpi_yield_when_idle 1 -n 7 gyre attend --threads 4")
  }

  /// A copy of the script looks for the package where it was submitted, or where it is told.
  @Test(arguments: ["SLURM_SUBMIT_DIR", "GYRE_HOME"])
  func aCopyFindsThePackage(variable: String) throws {
    let folder = try TemporaryFolder()
    let copy = folder.url.appending(path: "slurm_script")
    try FileManager.default.copyItem(
      at: Script.root.appending(path: "Launch/slurm.sbatch"), to: copy)
    let outcome = try Script.run(
      copy.path, ["--dry-run", "attend"],
      environment: [variable: Script.root.path, "GYRE_BINARY": "/bin/sh"], directory: folder.url)
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output.hasPrefix("mpirun "))
  }

  @Test(arguments: [
    (["--dry-run", "attend"], ["GYRE_HOME": "/nowhere"], "'/nowhere'"),
    (["--colour", "attend"], [:], "'--colour'"), (["--dry-run"], [:], "say what to run"),
    (["attend"], [:], "submit it"),
  ])
  func whatCannotBeIsRefused(
    arguments: [String], environment: [String: String], culprit: String
  ) throws {
    let outcome = try Script.run("Launch/slurm.sbatch", arguments, environment: environment)
    #expect(outcome.code == 64)
    #expect(outcome.output == "")
    #expect(outcome.complaints.count == 1)
    #expect(outcome.errors.contains(culprit), "\(outcome.errors)")
  }

  @Test func helpIsNoRefusal() throws {
    let outcome = try Script.run("Launch/slurm.sbatch", ["--help"])
    #expect(outcome.code == 0)
    #expect(outcome.output.hasPrefix("Usage: sbatch "))
  }
}
