import TestSupport
import Testing

@Suite("Streamed dilated attention, as real jobs under mpirun")
struct StreamJobTests {
  @Test(
    "check on ranks", arguments: ["streamed", "streamed-long", "streamed-sample-check"], [1, 2, 3])
  func check(name: String, ranks: Int) async throws {
    let result = try await MPIJob.run(
      program: "ring-checks", arguments: [name], ranks: ranks, timeoutSeconds: 240)
    #expect(result.isSuccess && result.standardOutput == "passed\n", "\(result)")
  }
}
