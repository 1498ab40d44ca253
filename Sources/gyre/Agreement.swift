import ArgumentParser
import Doctor
import Glibc
import Jobs
import LongNet
import MPI
import Reporting
import SequenceParallel
import Settings

/// Refuses ranks that were started with different command lines.
func agreeOnArguments(_ arguments: [String], on world: borrowing Communicator) throws {
  let line = ([Gyre.build] + arguments).joined(separator: "\u{0}")
  guard let other = try world.lowestDifferingRank(line) else { return }
  let lines = try world.allGather(Array(line.utf8))
  let builds = lines.map { $0.prefix { $0 != 0 } }
  let code = builds[0] == builds[other] ? usageExitCode : EXIT_FAILURE
  guard world.rank == 0 else { throw AgreedFailure(message: nil, code: code) }
  let shown = [0, other].map { rank in
    let words = String(decoding: lines[rank], as: UTF8.self).split(
      separator: "\u{0}", omittingEmptySubsequences: false)
    return "rank \(rank): gyre \(words[0]), \(words.dropFirst().joined(separator: " "))"
  }
  throw AgreedFailure(
    message: """
      gyre: rank \(other) was started with another build or other arguments than rank 0; \
      start all ranks with the same command line (\(shown.joined(separator: "; "))).
      """, code: code)
}

/// Finds the settings, parses and runs a command on all ranks, and turns agreed failures into an
/// exit code.
///
/// An error that is not agreed ends the whole job and names the rank: the others may be waiting
/// for it.
func reportingFailures(
  on world: borrowing Communicator,
  settings: () throws -> LayeredArguments,
  run: (any ParsableCommand) throws -> Void
) -> Int32 {
  var command: (any ParsableCommand)?
  var layers = LayeredArguments()
  do {
    layers = try settings()
    if world.rank == 0 { layers.warnings.forEach { printError("gyre: \($0)") } }
    let parsed = try Gyre.parseAsRoot(layers.arguments)
    if layers.isExplained {
      try world.printReport(layers.explanation)
      return EXIT_SUCCESS
    }
    command = parsed
    try run(parsed)
    return EXIT_SUCCESS
  } catch let failure as AgreedFailure {
    if let message = failure.message { printError(layers.addingOrigins(to: message)) }
    return failure.code
  } catch is PeerFailure {
    // Agreed as well; the rank that failed says why.
    return EXIT_FAILURE
  } catch {
    if error is MPIError || command is any DistributedCommand {
      printError(
        layers.addingOrigins(
          to: "gyre: rank \(world.rank) on \(MPIEnvironment.processorName): \(error)"))
      UnfinishedFile.remove()
      world.abort(code: Int(exitCode(of: error)))
    }
    // All ranks have parsed the same arguments, or rank 0 alone runs the command.
    return world.rank == 0 ? report(error, layers) : finalCode(of: error)
  }
}

/// Prints what an error of the argument parser says, which may be the help that was asked for.
///
/// - Returns: the exit code.
func report(_ error: any Error, _ layers: LayeredArguments) -> Int32 {
  let code = finalCode(of: error)
  // The command has said why.
  if error is ExitCode { return code }
  if let error = error as? ReportFailure { return report(error) }
  if code == EXIT_SUCCESS {
    do { try printReport(Gyre.fullMessage(for: error)) } catch { return report(error) }
  } else {
    let message = layers.addingOrigins(to: layers.addingNearValue(to: Gyre.message(for: error)))
    let isSentence = message.hasSuffix(".") || message.hasSuffix("?")
    printError("gyre: \(message)\(isSentence ? "" : ".") See --help.")
  }
  return code
}

/// The exit code that the parser has for its own errors, and this command for others.
private func finalCode(of error: any Error) -> Int32 {
  let code = Gyre.exitCode(for: error)
  return code == .failure ? exitCode(of: error) : code.rawValue
}

/// Says that a report has not been written.
///
/// - Returns: the exit code.
private func report(_ failure: ReportFailure) -> Int32 {
  printError("gyre: \(failure)")
  return EXIT_FAILURE
}

/// What the parser or `validate()` finds wrong with the command line.
extension ValidationError: ExitCoded {
  package var exitCode: Int32 { usageExitCode }
}

/// A route that these ranks cannot form.
extension RouteError: ExitCoded {
  package var exitCode: Int32 { usageExitCode }
}

/// A wire type too narrow for these numbers.
extension WireRangeError: ExitCoded {
  package var exitCode: Int32 { usageExitCode }
}

/// Branches with more pairs than can be counted.
extension DilatedProblemError: ExitCoded {
  package var exitCode: Int32 { usageExitCode }
}
