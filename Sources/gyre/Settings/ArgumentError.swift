import ArgumentParser
import Glibc
import SequenceParallel

/// A sentence about an argument that has turned out wrong when the ranks, the hosts or the input were
/// known.
///
/// What can be said without them is a `ValidationError` of the parser, and ends with the same exit
/// code.
struct ArgumentError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// That of a mistake in the arguments: 64, EX_USAGE of sysexits.h.
let usageExitCode = ExitCode.validationFailure.rawValue

/// The exit code of an error: 64 for a mistake in the arguments, 1 for all else.
func exitCode(of error: any Error) -> Int32 {
  let isUsage =
    switch error {
    // A transport that these ranks cannot form, a wire type too narrow for these numbers.
    case is ArgumentError, is ValidationError, is RouteError, is WireRangeError: true
    default: false
    }
  return isUsage ? usageExitCode : EXIT_FAILURE
}
