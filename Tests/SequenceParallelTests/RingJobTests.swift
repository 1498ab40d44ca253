import TestSupport
import Testing

/// The checks of `Tests/Programs/ring-checks/Check.swift`: a new one is a line in its table.
@Suite("The ring, as real jobs under mpirun")
struct RingJobTests {
  @Test("all checks on ranks", arguments: [1, 2, 3, 4, 5, 7, 8])
  func checks(ranks: Int) async throws {
    let result = try await MPIJob.run(
      program: "ring-checks", arguments: ["ring"], ranks: ranks, timeoutSeconds: 900)
    #expect(result.isSuccess && result.standardOutput.hasSuffix("\npassed\n"), "\(result)")
  }
}
