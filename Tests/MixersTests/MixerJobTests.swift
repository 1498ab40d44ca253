import TestSupport
import Testing

/// All operators between processes, with messages that MPI does not send at once.
@Suite("Mixers, as real jobs under mpirun")
struct MixerJobTests {
  @Test("all operators on ranks", arguments: [1, 2, 3, 4, 5, 7, 8])
  func checks(ranks: Int) async throws {
    let result = try await MPIJob.run(
      program: "ring-checks", arguments: ["mixers"], ranks: ranks, timeoutSeconds: 300)
    #expect(result.isSuccess && result.standardOutput.hasSuffix("\npassed\n"), "\(result)")
  }
}
