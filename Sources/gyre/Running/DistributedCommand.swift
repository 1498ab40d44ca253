import ArgumentParser
import MPI

/// A command that all ranks of a job run together.
protocol DistributedCommand: ParsableCommand {
  /// Runs on one rank. Every error that is not agreed among the ranks ends the whole job.
  func run(on world: borrowing Communicator) throws
}

/// A distributed command that without mpirun does something else, for which it needs no MPI.
protocol StandaloneCommand: DistributedCommand {
  /// Runs, and returns the exit code.
  func runAlone() throws -> Int32
}
