import TestSupport
import Testing

@Suite("Computing and transfers apart, as real jobs under mpirun")
struct PartJobTests {
  @Test("check on ranks", arguments: [1, 3, 4])
  func check(ranks: Int) async throws {
    let result = try await MPIJob.run(program: "ring-checks", arguments: ["parts"], ranks: ranks)
    #expect(result.isSuccess && result.standardOutput == "passed\n", "\(result)")
  }
}
