import TestSupport
import Testing

@Suite("Checks under mpirun")
struct JobTests {
  /// What every rank is to pass: a new case of `mpi-checks` is a word here.
  private static let cases = [
    "ring", "self-send", "messages", "size-mismatch", "deadline", "broadcast", "reduce", "scan",
    "operators", "gather", "all-gather", "all-to-all", "groups", "agreement", "environment",
    "windows", "counters", "counter-waits", "no-room", "unfreed-windows",
  ]

  // Odd, even, prime, powers of two, more than there are cores.
  @Test("Every rank passes", arguments: [1, 2, 3, 4, 5, 7, 8])
  func passes(ranks: Int) async throws {
    let result = try await MPIJob.run(
      program: "mpi-checks", arguments: Self.cases, ranks: ranks, timeoutSeconds: 120)
    #expect(result.isSuccess, "\(ranks) ranks: \(result)")
  }

  @Test("A program runs without mpirun, as the only rank of its world")
  func alone() async throws {
    let result = try await MPIJob.runAlone(
      program: "mpi-checks", arguments: ["environment", "ring", "operators"])
    #expect(result.isSuccess, "\(result)")
  }

  @Test("An unknown case is refused")
  func unknownCase() async throws {
    let result = try await MPIJob.runAlone(program: "mpi-checks", arguments: ["nothing"])
    #expect(result.ending == .exited(64), "\(result)")
  }

  @Test("The checks pass over TCP too, where a large message moves in another way")
  func overTCP() async throws {
    let result = try await MPIJob.run(
      program: "mpi-checks",
      arguments: ["ring", "messages", "size-mismatch", "deadline", "all-to-all", "counter-waits"],
      ranks: 3, environment: ["OMPI_MCA_btl": "tcp,self"])
    #expect(result.isSuccess, "\(result)")
  }
}
