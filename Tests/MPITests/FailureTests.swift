import TestSupport
import Testing

/// Jobs in which one rank fails while the others wait for it: all must end, and soon.
@Suite("Failing jobs")
struct FailureTests {
  /// Far above the seconds that it takes, far below a wait that never ends.
  static let soon = 20.0

  private func run(_ name: String, ranks: Int = 3) async throws -> CommandResult {
    let result = try await MPIJob.run(
      program: "mpi-checks", arguments: [name], ranks: ranks, cleansUp: true,
      timeoutSeconds: Self.soon)
    #expect(!result.isSuccess && result.ending != .timedOut, "\(name): \(result)")
    return result
  }

  @Test("A check that does not hold fails, with its rank and its sentence")
  func falseCheck() async throws {
    let result = try await run("fails")
    #expect(result.standardError.contains("check failed on rank 2: this check fails on purpose"))
  }

  @Test("An error of all ranks is thrown after MPI is finalized")
  func allThrow() async throws {
    let result = try await run("fails-together")
    // By the first exit code that is not 0 mpirun ends the other ranks, whether they have told or
    // not.
    #expect(result.standardError.contains(": all ranks fail on purpose"), "\(result)")
    #expect(!result.standardError.contains("MPI_ABORT"), "\(result)")
  }

  @Test("An error of one rank ends the job, and is told", arguments: [2, 3, 5])
  func oneThrows(_ ranks: Int) async throws {
    let result = try await run("throws-alone", ranks: ranks)
    #expect(
      result.standardError.contains(
        "MPI rank \(ranks - 1): check failed on rank \(ranks - 1): one rank fails on purpose"),
      "\(result)")
  }

  @Test(
    "An error of one rank ends the job while others wait in shared memory", arguments: [2, 3, 5])
  func oneThrowsWithWindows(_ ranks: Int) async throws {
    let result = try await run("throws-with-windows", ranks: ranks)
    #expect(
      result.standardError.contains("MPI rank \(ranks - 1): check failed on rank \(ranks - 1)"),
      "\(result)")
  }

  @Test("MPI is finalized with shared memory that an error has left")
  func allThrowWithWindows() async throws {
    let result = try await run("throws-together-with-windows")
    #expect(result.standardError.contains(": all ranks fail on purpose"), "\(result)")
    #expect(!result.standardError.contains("MPI_ABORT"), "\(result)")
  }

  @Test("A rank that exits ends the job")
  func oneExits() async throws {
    let result = try await run("exits-alone")
    #expect(result.ending == .exited(3), "\(result)")
    #expect(result.standardError.contains(",1],2]"), "mpirun names rank 2: \(result)")
  }

  @Test("A rank that is killed ends the job")
  func oneIsKilled() async throws {
    let result = try await run("killed-alone")
    #expect(result.standardError.contains("process rank 2"), "\(result)")
  }

  @Test("An abort ends the job with its code")
  func aborts() async throws {
    let result = try await run("aborts")
    #expect(result.ending == .exited(42), "\(result)")
    #expect(result.standardError.contains("MPI rank 2: the program aborts with code 42"))
  }

  @Test("A transfer that is dropped stops the job", arguments: ["drops-send", "drops-receive"])
  func drops(_ name: String) async throws {
    let result = try await run(name)
    #expect(
      result.standardError.contains(
        "MPI rank 2: a transfer was dropped before its wait gave the buffer back"),
      "\(result)")
  }

  @Test("The error that led to a drop is told with it")
  func dropsAfterError() async throws {
    let result = try await run("drops-after-error")
    #expect(
      result.standardError.contains("timed out waiting for 77 bytes from rank 0, tag 9"),
      "\(result)")
  }

  @Test("A message that nobody receives is found at the end")
  func unreceived() async throws {
    let result = try await run("unreceived")
    #expect(
      result.standardError.contains("this message is left: 1048576 bytes to rank 0, tag 9"),
      "\(result)")
  }

  @Test("A collective that has failed on both sides of a message ends the job")
  func stuckExchange() async throws {
    let result = try await run("stuck-exchange")
    #expect(
      result.standardError.contains("4194304 bytes from rank")
        && result.standardError.contains("where 1048576 bytes were expected"), "\(result)")
  }

  @Test("A job that hangs is killed with all its ranks")
  func hangs() async throws {
    let result = try await MPIJob.run(
      program: "mpi-checks", arguments: ["hangs"], ranks: 3, timeoutSeconds: 2)
    #expect(result.ending == .timedOut, "\(result)")
    #expect(result.seconds < Self.soon, "\(result)")
    // A killed process is still there until the system has taken it apart.
    let left = try await Command.run(
      "sh",
      arguments: [
        "-c",
        """
        for turn in $(seq 50); do
          pgrep -f 'mpi-checks hang[s]' >/dev/null || exit 0
          sleep 0.1
        done
        pgrep -f 'mpi-checks hang[s]'
        """,
      ], timeoutSeconds: 20)
    #expect(left.standardOutput.isEmpty, "these ranks are left: \(left.standardOutput)")
  }
}
