import ArgumentParser
import FoundationEssentials
import Jobs
import MPI
import Settings

extension LayeredArguments {
  /// The layers of this process.
  static func ofThisProcess(_ arguments: [String]) throws -> LayeredArguments {
    try LayeredArguments(
      arguments, environment: ProcessInfo.processInfo.environment,
      catalog: OptionCatalog(dump: Gyre._dumpHelp()))
  }

  /// The layers as rank 0 sees them, on all ranks.
  ///
  /// Ranks of other hosts have neither the environment nor the folder in which mpirun was started.
  static func agreed(
    _ arguments: [String], on world: borrowing Communicator
  ) throws -> LayeredArguments {
    let isRoot = world.rank == 0
    let layers: LayeredArguments
    do {
      layers = try world.agree {
        isRoot ? try ofThisProcess(arguments) : LayeredArguments(arguments: arguments)
      }
    } catch let failure as PeerFailure {
      // All ranks then exit with the code of a command line that cannot be parsed.
      throw ValidationError(failure.message)
    }
    let bytes = try world.broadcastBytes(isRoot ? Array(JSONEncoder().encode(layers)) : [], from: 0)
    return try JSONDecoder().decode(LayeredArguments.self, from: Data(bytes))
  }
}
