import TestSupport
import Testing

/// A case of `mpi-checks` on a number of ranks, which is a part of the test's name.
struct Job: Sendable, CustomTestStringConvertible {
  let name: String
  let ranks: Int

  var testDescription: String { "\(name) on \(ranks) rank\(ranks == 1 ? "" : "s")" }

  /// Every case on every rank count: odd, even, prime, powers of two, more than there are cores.
  static let all = [
    "ring", "self-send", "messages", "size-mismatch", "deadline", "broadcast", "reduce", "scan",
    "operators", "gather", "all-gather", "all-to-all", "groups", "agreement", "environment",
    "windows", "counters", "counter-waits", "no-room", "unfreed-windows",
  ].flatMap { name in [1, 2, 3, 4, 5, 7, 8].map { Job(name: name, ranks: $0) } }
}

@Suite("Checks under mpirun")
struct JobTests {
  @Test("Every rank passes", arguments: Job.all)
  func passes(_ job: Job) async throws {
    let result = try await MPIJob.run(
      program: "mpi-checks", arguments: [job.name], ranks: job.ranks)
    #expect(result.isSuccess, "\(job.testDescription): \(result)")
  }

  @Test("A program runs without mpirun, as the only rank of its world")
  func alone() async throws {
    for name in ["environment", "ring", "operators"] {
      let result = try await MPIJob.runAlone(program: "mpi-checks", arguments: [name])
      #expect(result.isSuccess, "\(name): \(result)")
    }
  }

  @Test("An unknown case is refused")
  func unknownCase() async throws {
    let result = try await MPIJob.runAlone(program: "mpi-checks", arguments: ["nothing"])
    #expect(result.ending == .exited(64), "\(result)")
  }

  @Test(
    "The checks pass over TCP too, where a large message moves in another way",
    arguments: ["ring", "messages", "size-mismatch", "deadline", "all-to-all", "counter-waits"])
  func overTCP(_ name: String) async throws {
    let result = try await MPIJob.run(
      program: "mpi-checks", arguments: [name], ranks: 3,
      environment: ["OMPI_MCA_btl": "tcp,self"])
    #expect(result.isSuccess, "\(name): \(result)")
  }
}
