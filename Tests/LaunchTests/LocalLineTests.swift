import Foundation
import TestSupport
import Testing

/// The mpirun line that `Launch/local` decides on, without running it.
@Suite struct LocalLineTests {
  /// The line for ranks and threads on a number of cores, with what is the same in each left out:
  /// the root user's option, the rank count, the binary and the command.
  private func options(ranks: Int, cores: Int, command: [String]) throws -> String {
    let outcome = try Script.run(
      "Launch/local", ["--dry-run", "-n", "\(ranks)"] + command,
      environment: ["GYRE_CORES": "\(cores)"])
    #expect(outcome.code == 0)
    #expect(outcome.errors == "")
    let root = getuid() == 0 ? " --allow-run-as-root" : ""
    let binary = Script.root.appending(path: ".build/release/gyre").path
    let start = "mpirun\(root) "
    let end = " -n \(ranks) \(binary) \(command.joined(separator: " "))\n"
    #expect(outcome.output.hasPrefix(start) && outcome.output.hasSuffix(end), "\(outcome.output)")
    return String(outcome.output.dropFirst(start.count).dropLast(end.count))
  }

  @Test(arguments: [(1, 8), (2, 4), (3, 2), (4, 2), (5, 1), (7, 1), (8, 1)])
  func ranksThatFitAreBoundToTheirPartOfTheCores(ranks: Int, each: Int) throws {
    for command in [["attend"], ["attend", "--threads", "auto"]] {
      #expect(
        try options(ranks: ranks, cores: 8, command: command) == "--map-by slot:PE=\(each)")
    }
  }

  /// What a machine of this many nodes, each of two cores, is said to be by lscpu.
  private func topology(nodes: Int) -> String {
    "printf '# CPU,Core,Node\\n"
      + (0..<2 * nodes).map { "\($0),\($0),\($0 / 2)" }.joined(separator: "\\n") + "\\n'"
  }

  /// The line without a number of ranks, on a machine of that many nodes.
  private func defaultLine(
    nodes: Int, _ arguments: [String] = [], command: [String] = ["attend"]
  ) throws -> String {
    let folder = try TemporaryFolder()
    var environment = try folder.shadowing("lscpu", with: topology(nodes: nodes))
    environment.merge(try folder.shadowing("id", with: "echo 1000")) { $1 }
    environment["GYRE_BINARY"] = "/bin/sh"
    // As far as this process sees, every processor that lscpu names may be used.
    try folder.write(
      "#!/bin/sh\necho 0-\(2 * nodes - 1)\n", to: "sed", executable: true)
    let outcome = try Script.run(
      "Launch/local", ["--dry-run"] + arguments + command, environment: environment)
    #expect(outcome.code == 0 && outcome.errors == "", "\(outcome.errors)")
    return outcome.output.split(separator: " /").first.map(String.init) ?? ""
  }

  /// The whole machine computes, and no rank's memory is far from its cores.
  @Test func withoutANumberEveryNodeOfMemoryIsARank() throws {
    for nodes in [1, 2, 4] {
      #expect(
        try defaultLine(nodes: nodes)
          == "mpirun --map-by slot --bind-to numa:if-supported -n \(nodes)")
    }
    #expect(
      try defaultLine(nodes: 2, command: ["attend", "--threads", "2"])
        == "mpirun --map-by slot:PE=2 -n 2")
    #expect(
      try defaultLine(nodes: 2, command: ["attend", "--threads", "3"])
        == "mpirun --bind-to none --mca mpi_yield_when_idle 1 -n 2")
    #expect(try defaultLine(nodes: 2, ["--no-bind"]) == "mpirun --bind-to none -n 2")
    #expect(try defaultLine(nodes: 2, ["-n", "3"]) == "mpirun --map-by slot:PE=1 -n 3")
  }

  @Test(arguments: [(1, 8), (2, 4), (4, 2), (2, 3)])
  func ranksAreBoundToAsManyCoresAsTheyHaveThreads(ranks: Int, threads: Int) throws {
    for flag in [["--threads", "\(threads)"], ["--threads=\(threads)"]] {
      let command = ["attend"] + flag + ["--causal"]
      #expect(
        try options(ranks: ranks, cores: 8, command: command) == "--map-by slot:PE=\(threads)")
    }
  }

  @Test(arguments: [(1, 3), (2, 2)])
  func threadsThatDoNotFitAreNotBound(ranks: Int, threads: Int) throws {
    #expect(
      try options(ranks: ranks, cores: 2, command: ["attend", "--threads", "\(threads)"])
        == "--bind-to none --mca mpi_yield_when_idle 1")
  }

  @Test(arguments: [(2, 1), (3, 2), (8, 4)])
  func moreRanksThanCoresShareThemAndYield(ranks: Int, cores: Int) throws {
    #expect(
      try options(ranks: ranks, cores: cores, command: ["attend"])
        == "--oversubscribe --bind-to none --mca mpi_yield_when_idle 1")
  }

  @Test(arguments: ["zero", "0", "-1", ""])
  func threadsThatAreNoNumberAreLeftToGyre(threads: String) throws {
    #expect(
      try options(ranks: 2, cores: 2, command: ["attend", "--threads=\(threads)"])
        == "--map-by slot:PE=1")
  }

  @Test func noBindLeavesRanksThatFitUnbound() throws {
    let outcome = try Script.local(
      "-n", "2", "--no-bind", "--dry-run", "attend", environment: ["GYRE_CORES": "8"])
    #expect(outcome.output.contains(" --bind-to none -n 2 "))
    #expect(!outcome.output.contains("yield"))
  }

  @Test(arguments: [(0, true), (1000, false)])
  func onlyRootIsAllowedToRunAsRoot(user: Int, allowed: Bool) throws {
    let folder = try TemporaryFolder()
    let outcome = try Script.local(
      "--dry-run", "-n", "1", "attend",
      environment: try folder.shadowing("id", with: "echo \(user)"))
    #expect(outcome.output.contains("--allow-run-as-root") == allowed)
  }

  /// A CPU that this process may run on.
  private func someCPU() throws -> Int {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    let list = try #require(status.split(separator: "Cpus_allowed_list:").last)
    return try #require(Int(list.trimmingPrefix(while: \.isWhitespace).prefix(while: \.isNumber)))
  }

  /// mpirun's slots are cores, so two hardware threads are not room for two ranks.
  @Test func hardwareThreadsAreNotCores() throws {
    let cpu = try someCPU()
    let folder = try TemporaryFolder()
    let outcome = try Script.local(
      "--dry-run", "-n", "2", "attend",
      environment: try folder.shadowing(
        "lscpu", with: "printf '# CPU,Core\\n\(cpu),0\\n\(cpu + 1),0\\n'"))
    #expect(outcome.output.contains(" --oversubscribe "))
  }

  /// mpirun would bind to the machine's first cores, whether this process may use them or not.
  @Test func aProcessConfinedToSomeCoresDoesNotBind() throws {
    let cpu = try someCPU()
    let folder = try TemporaryFolder()
    let twoCores = "printf '# CPU,Core\\n\(cpu),0\\n\(cpu + 1),1\\n'"
    let outcome = try Script.run(
      "/usr/bin/taskset",
      ["--cpu-list", "\(cpu)", "Launch/local", "--dry-run", "-n", "1", "attend"],
      environment: try folder.shadowing("lscpu", with: twoCores))
    #expect(outcome.output.contains(" --bind-to none -n 1 "))
    #expect(!outcome.output.contains("--oversubscribe"))
  }

  @Test func aMachineThatHidesItsTopologyDoesNotBind() throws {
    let folder = try TemporaryFolder()
    let outcome = try Script.local(
      "--dry-run", "-n", "1", "attend",
      environment: try folder.shadowing("lscpu", with: "echo no /sys >&2; exit 1"))
    #expect(outcome.code == 0)
    #expect(outcome.errors == "")
    #expect(outcome.output.contains(" --bind-to none -n 1 "))
    #expect(!outcome.output.contains("--oversubscribe"))
  }

  /// A shell that reads the printed line gives mpirun the arguments that were meant.
  @Test func theLineCanBePastedIntoAShell() throws {
    let folder = try TemporaryFolder()
    let command = ["attend", "two words", "it's", "$HOME", "*", "", "\"q\"", "a\\b", "two\nlines"]
    let line = try Script.run("Launch/local", ["--dry-run", "-n", "1"] + command).output
    let outcome = try Script.run(
      "/bin/bash", ["-c", line],
      environment: try folder.shadowing("mpirun", with: #"printf '%s\000' "$@""#))
    let arguments = outcome.output.split(separator: "\0", omittingEmptySubsequences: false)
    #expect(Array(arguments.dropLast().suffix(command.count)) == command.map { $0[...] })
  }

  /// What batch systems set, and settings that would send ranks to other hosts.
  @Test(arguments: [
    "SLURM_JOB_ID", "SLURM_JOBID", "PBS_JOBID", "LSB_JOBID", "PE_HOSTFILE", "OMPI_MCA_plm",
    "OMPI_MCA_orte_default_hostfile",
  ])
  func localIsLocalInABatchJobToo(variable: String) throws {
    let arguments = ["--dry-run", "-n", "2", "attend"]
    let outcome = try Script.run("Launch/local", arguments, environment: [variable: "7"])
    let usual = try Script.run("Launch/local", arguments).output
    #expect(
      outcome.output.contains(
        #"--mca ras \^alps\,gridengine\,loadleveler\,lsf\,simulator\,slurm\,tm "#
          + "--mca orte_default_hostfile none --mca plm isolated "), "\(outcome.output)")
    #expect(!usual.contains("isolated"))
  }

  @Test func itWorksFromAnyFolderAndThroughASymbolicLink() throws {
    let folder = try TemporaryFolder()
    let link = folder.url.appending(path: "elsewhere")
    try FileManager.default.createSymbolicLink(
      at: link, withDestinationURL: Script.root.appending(path: "Launch/local"))
    let arguments = ["--dry-run", "-n", "3", "attend"]
    let outcome = try Script.run(link.path, arguments, directory: folder.url)
    #expect(outcome.code == 0)
    #expect(try outcome.output == Script.run("Launch/local", arguments).output)
  }
}
