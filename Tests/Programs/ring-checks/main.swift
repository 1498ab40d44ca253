import Glibc
import MPI

// Checks of the ring that need ranks: `mpirun -n P ring-checks CASE`. Every rank checks its own
// rows; the first that is wrong ends the job with a sentence.

let cases: [String: (borrowing Communicator) throws -> Void] = [
  "grid": checkGrid,
  "transports": checkTransports,
  "large-blocks": checkLargeBlocks,
  "traffic": checkTraffic,
  "dilated": checkDilated,
  "dilated-long": checkLongDilated,
  "dilated-detached": checkDetachedGradients,
  "routes": checkRoutes,
  "route-traffic": checkRouteTraffic,
  "route-refusal": checkRouteRefusal,
  "parts": checkParts,
  "bits": checkBits,
  "score-rule": checkScoreRule,
  "head-traffic": checkHeadTraffic,
  "several-layers": checkSeveralLayers,
  "mesh-refusal": checkMeshRefusal,
  "streamed": checkStreamed,
  "streamed-long": checkStreamedLong,
  "streamed-sample-check": checkStreamedSampleCheck,
  "sampled-check": checkSampledCheck,
  "sampled-gradient-check": checkSampledGradientCheck,
]

guard CommandLine.arguments.count == 2, let check = cases[CommandLine.arguments[1]] else {
  print("usage: ring-checks \(cases.keys.sorted().joined(separator: "|"))")
  exit(2)
}
do {
  try withMPI { world in
    try check(world)
    try world.barrier()
    if world.rank == 0 { print("passed") }
  }
} catch {
  print("failed: \(error)")
  exit(1)
}

/// What a check throws.
struct CheckFailure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// Throws a sentence unless the condition holds.
func require(_ condition: Bool, _ sentence: @autoclosure () -> String) throws {
  if !condition { throw CheckFailure(sentence()) }
}
