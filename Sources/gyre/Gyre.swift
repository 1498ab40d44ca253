import ArgumentParser
import Attention
import BuildStamp
import Glibc
import Hosts
import Jobs
import MPI
import Reporting
import Settings

/// The command.
@main
struct Gyre: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gyre",
    abstract: "Exact attention over sequences too long for one machine.",
    discussion: """
      Start one process a rank with mpirun (or Launch/local on one machine); each holds a shard \
      of the sequence, and key/value blocks pass round a ring.

      Options can also come from the environment (GYRE_THREADS=4 for --threads 4, GYRE_CAUSAL=true \
      for --causal) and from a JSON file that --settings or GYRE_SETTINGS names. The command line \
      wins over the environment, and that over the file.
      """,
    version: version,
    subcommands: [
      AttendCommand.self, StreamCommand.self, MixCommand.self, BenchCommand.self,
      CompareCommand.self, PlotCommand.self, PredictCommand.self, DoctorCommand.self,
      LogitsCommand.self,
      PerplexityCommand.self, GenerateCommand.self, TokenizeCommand.self, InspectCommand.self,
    ])

  /// The version, and of what commit it was built.
  static let build =
    BuildStamp.version + (BuildStamp.commit.map { " (\(shortCommit($0)))" } ?? "")

  /// The same, with the kernels that there are and those that this processor is given.
  private static let version =
    "\(build), kernels for \(listed(InstructionSet.compiled.map(\.rawValue))), here "
    + "\(InstructionSet.inUse)"

  /// Parses, runs, and exits with the command's code.
  ///
  /// Under mpirun all ranks first compare their arguments, so that a mistake in them is reported
  /// once and not by every rank.
  static func main() {
    prepareProcess()
    let arguments = Array(CommandLine.arguments.dropFirst())
    var layers = LayeredArguments()
    do {
      if arguments == [ManualSource.argument] {
        try printReport(try ManualSource.description(of: _dumpHelp()))
        return
      }
      if MPIEnvironment.isLaunchedByMPI {
        let code = try withMPI { world in
          try requireMeeting(of: world)
          SegmentNames.remove()
          return reportingFailures(on: world) {
            try agreeOnArguments(arguments, on: world)
            return try .agreed(arguments, on: world)
          } run: { command in
            try run(command, on: world)
          }
        }
        Glibc.exit(code)
      }
      layers = try .ofThisProcess(arguments)
      var command = try parseAsRoot(layers.arguments)
      if !layers.isExplained { try command.chooseInstructions() }
      if layers.isExplained || !(command is any DistributedCommand) {
        layers.warnings.forEach { printError("gyre: \($0)") }
        if layers.isExplained {
          try printReport(layers.explanation)
        } else {
          try command.run()
        }
        return
      }
      if let standalone = command as? any StandaloneCommand {
        layers.warnings.forEach { printError("gyre: \($0)") }
        Glibc.exit(try standalone.runAlone())
      }
      // Without a word of PMI or PMIx, MPI sees this rank alone; under srun it would not even
      // start.
      try requireAllRanks(seen: 1)
      let found = layers
      let code = try withMPI { world in
        reportingFailures(on: world) {
          found
        } run: {
          try run($0, on: world)
        }
      }
      Glibc.exit(code)
    } catch let failure as AgreedFailure {
      failure.message.map(printError)
      Glibc.exit(EXIT_FAILURE)
    } catch let error as MPIError {
      printError("gyre: \(error)")
      Glibc.exit(EXIT_FAILURE)
    } catch {
      Glibc.exit(report(error, layers))
    }
  }

  /// Streams, signals and limits as every command needs them.
  private static func prepareProcess() {
    reserveStandardStreams()
    requireInstructionSet()
    // A file over the size limit is then an error of the write, which says so, and not a death.
    signal(SIGXFSZ, SIG_IGN)
    // And so is a reader of the report who has gone.
    signal(SIGPIPE, SIG_IGN)
    // Whoever sends these wants an end; Swift's own handlers print a long trace and let the run go
    // on.
    signal(SIGQUIT, SIG_DFL)
    signal(SIGABRT, SIG_DFL)
    OpenFiles.raiseLimit()
    OpenFiles.requireLaunch()
  }

  private static func run(
    _ command: any ParsableCommand, on world: borrowing Communicator
  ) throws {
    if let distributed = command as? any DistributedCommand {
      // The doctor has it among its findings.
      if !(command is any StandaloneCommand) { try requireAllRanks(seen: world.size) }
      try world.agreed { try command.chooseInstructions() }
      try distributed.run(on: world)
    } else if world.rank == 0 {
      var command = command
      try command.chooseInstructions()
      try command.run()
    }
  }
}
