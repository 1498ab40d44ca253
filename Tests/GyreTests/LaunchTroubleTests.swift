import Foundation
import TestSupport
import Testing

/// What gyre does where a launcher, a setting of Open MPI or the shell is in its way.
@Suite("Launch trouble", .timeLimit(.minutes(2)))
struct LaunchTroubleTests {
  private let problem = ["attend", "--random", "1x64x2x2x8", "--report", "json"]

  private func environment(_ variables: [String: String]) -> [String: String] {
    variables.merging(["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"]) { $1 }
  }

  /// As `mpiexec -n 3` of another MPI starts them.
  @Test(
    "ranks that MPI does not see are refused before there is an output, by one of them",
    arguments: [
      ["PMI_SIZE": "3", "PMI_RANK": "RANK"],
      ["MPI_LOCALNRANKS": "3", "MPI_LOCALRANKID": "RANK"],
      ["SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "RANK", "SLURM_NTASKS": "3"],
      ["MV2_COMM_WORLD_SIZE": "3", "MV2_COMM_WORLD_RANK": "RANK"],
      ["OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "RANK"],
    ])
  func strangers(variables: [String: String]) async throws {
    let folder = try TemporaryFolder()
    for rank in [0, 2] {
      let result = try await MPIJob.runAlone(
        program: "gyre", arguments: problem + ["--output", folder.path + "/out.safetensors"],
        environment: environment(variables.mapValues { $0 == "RANK" ? "\(rank)" : $0 }))
      #expect(result.ending == .exited(1), "\(result)")
      #expect(result.standardOutput == "")
      let lines = result.standardError.split(separator: "\n")
      #expect(lines.count == (rank == 0 ? 1 : 0), "\(result)")
      if rank == 0 { #expect(lines.first?.contains("has started 3 ranks") ?? false, "\(result)") }
    }
    #expect(folder.names == [])
  }

  @Test("a number of PMIx alone is enough for the second rank to know")
  func numbersOnly() async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: problem, environment: environment(["PMIX_RANK": "1"]))
    #expect(result.ending == .exited(1), "\(result)")
    #expect(result.standardError.contains("at least 2 ranks (PMIX_RANK)"), "\(result)")
  }

  @Test("mpirun in an outer launcher, and gyre alone in a batch script, are as they should be")
  func legitimate() async throws {
    let outer = ["PMI_SIZE": "3", "SLURM_STEP_NUM_TASKS": "5", "SLURM_PROCID": "0"]
    let inner = try await MPIJob.run(
      program: "gyre", arguments: problem, ranks: 2, environment: environment(outer))
    #expect(inner.isSuccess && inner.standardOutput.contains(#""ranks":2"#), "\(inner)")
    let alone = try await MPIJob.runAlone(
      program: "gyre", arguments: problem,
      environment: environment(["SLURM_NTASKS": "4", "SLURM_PROCID": "0"]))
    #expect(alone.isSuccess && alone.standardOutput.contains(#""ranks":1"#), "\(alone)")
  }

  @Test("the doctor calls it a problem", arguments: ["PMI", "SLURM_STEP"])
  func doctor(launcher: String) async throws {
    let variables =
      launcher == "PMI"
      ? ["PMI_SIZE": "3", "PMI_RANK": "0"] : ["SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "0"]
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["doctor"], environment: environment(variables))
    #expect(result.ending == .exited(1), "\(result)")
    #expect(result.standardOutput.contains("has started 3 ranks"), "\(result)")
  }

  /// Settings that leave Open MPI without windows of shared memory.
  @Test(
    "auto takes another route where memory cannot be shared, and shared says which setting is in the way",
    arguments: [
      ("osc", "ucx"), ("osc", "pt2pt"), ("osc", "rdma"), ("osc", "^sm"),
      ("osc_sm_backing_directory", "/nowhere"),
    ])
  func sharedMemory(name: String, value: String) async throws {
    let variables = environment(["OMPI_MCA_" + name: value])
    let auto = try await MPIJob.run(
      program: "gyre", arguments: problem + ["--verify"], ranks: 2, environment: variables)
    #expect(auto.isSuccess && auto.standardOutput.contains(#""transport":"ring""#), "\(auto)")
    for transport in ["shared", "hierarchical"] {
      let result = try await MPIJob.run(
        program: "gyre", arguments: problem + ["--transport", transport], ranks: 2,
        environment: variables)
      #expect(!result.isSuccess)
      let sentences = result.standardError.split(separator: "\n").filter { $0.hasPrefix("gyre:") }
      #expect(sentences.count == 1, "\(result)")
      #expect(
        sentences.first.map { $0.contains(name) && $0.contains(value) } ?? false, "\(result)")
    }
  }

  /// The runtime's own handlers print a trace, and the run goes on.
  @Test("signals that ask for an end bring it at once", arguments: ["QUIT", "ABRT", "TERM", "HUP"])
  func signals(name: String) async throws {
    let script = """
      env --default-signal "$0" attend --random 1x262144x4x4x64 & job=$!
      for _ in $(seq 100); do
        [ "$(wc -l </proc/$job/maps)" -gt 0 ] && grep -q libmpi /proc/$job/maps && break
        sleep 0.05
      done
      sleep 0.3
      kill -s \(name) $job
      wait $job
      echo "ended with $?"
      """
    let result = try await Command.run(
      "bash", arguments: ["-c", script, BuiltProducts.executable("gyre")], timeoutSeconds: 20)
    #expect(result.isSuccess, "\(result)")
    let number = ["QUIT": 3, "ABRT": 6, "TERM": 15, "HUP": 1][name] ?? 0
    #expect(result.standardOutput.hasSuffix("ended with \(128 + number)\n"), "\(result)")
  }

  @Test("ranks of an mpirun with too few open files say how many it needs")
  func openFiles() async throws {
    let result = try await Command.run(
      "bash",
      arguments: [
        "-c", "ulimit -n 256; exec \"$0\" attend --random 1x64x1x1x8",
        BuiltProducts.executable("gyre"),
      ],
      environment: ["OMPI_COMM_WORLD_LOCAL_SIZE": "64", "OMPI_COMM_WORLD_LOCAL_RANK": "0"],
      timeoutSeconds: 20)
    #expect(result.ending == .exited(1), "\(result)")
    #expect(result.standardError.contains("needs 283 open files for 64 ranks"), "\(result)")
  }

  @Test("what mpirun says of a job that it cannot start is the doctor's problem")
  func mpirunThatCannotStart() async throws {
    let folder = try TemporaryFolder()
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["doctor"],
      environment: [
        "TMPDIR": folder.path + "/nowhere", "OMPI_MCA_orte_tmpdir_base": "/proc/nowhere",
      ])
    #expect(result.ending == .exited(1), "\(result)")
    #expect(result.standardOutput.contains("did not start a trial job"), "\(result)")
    #expect(result.standardOutput.contains("mkdir"), "\(result)")
  }
}
