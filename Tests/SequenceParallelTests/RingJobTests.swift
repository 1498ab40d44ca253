import TestSupport
import Testing

@Suite("The ring, as real jobs under mpirun")
struct RingJobTests {
  @Test(
    "check on ranks",
    arguments: [
      "grid", "transports", "large-blocks", "traffic", "routes", "route-traffic", "route-refusal",
      "bits", "score-rule", "head-traffic", "several-layers", "mesh-refusal", "sampled-check",
      "sampled-gradient-check", "dilated",
      "dilated-long", "dilated-detached",
    ],
    [1, 2, 3, 4, 5, 7, 8])
  func check(name: String, ranks: Int) async throws {
    let result = try await MPIJob.run(
      program: "ring-checks", arguments: [name], ranks: ranks, timeoutSeconds: 240)
    #expect(result.isSuccess && result.standardOutput == "passed\n", "\(result)")
  }
}
