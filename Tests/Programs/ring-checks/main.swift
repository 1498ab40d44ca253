import Compute
import Glibc
import MPI

// Checks of distributed attention that need ranks: `mpirun -n P ring-checks NAME…`. Every rank
// checks its own rows; the first that is wrong ends the job with a sentence.
//
// A name is that of a check or of a list of checks. Several run one after the other in one job,
// since to start a job takes longer than many of them.

guard let checks = Check.named(CommandLine.arguments.dropFirst()) else {
  print("usage: ring-checks \(Check.names.joined(separator: "|"))…")
  exit(2)
}
var running = ""
do {
  try withMPI { world in
    // Blocks, windows and sums are those of ranks with different processors.
    if world.rank % 2 == 1 { InstructionSet.use(.required) }
    for check in checks where check.ranks?.contains(world.size) ?? true {
      running = check.name
      let start = ContinuousClock.now
      try check.run(world)
      try world.barrier()
      guard world.rank == 0 else { continue }
      let tenths = Int((ContinuousClock.now - start) / .milliseconds(100))
      print("passed \(check.name) in \(tenths / 10).\(tenths % 10) s")
      fflush(nil)
    }
    if world.rank == 0 { print("passed") }
  }
} catch {
  print("failed \(running): \(error)")
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
