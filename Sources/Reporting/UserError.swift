import Glibc

/// An error that knows with which code the program is to end.
package protocol ExitCoded: Error {
  var exitCode: Int32 { get }
}

/// The exit code of a mistake in the arguments: 64, EX_USAGE of sysexits.h.
package let usageExitCode: Int32 = 64

/// The exit code of an error: its own, and 1 where it has none.
package func exitCode(of error: any Error) -> Int32 {
  (error as? any ExitCoded)?.exitCode ?? EXIT_FAILURE
}

/// A sentence for the user.
package struct UserError: ExitCoded, CustomStringConvertible {
  /// Whose fault it is, which decides the exit code.
  package enum Kind: Sendable {
    /// An argument that has turned out wrong, perhaps only when the ranks, the hosts or the input
    /// were known.
    case usage
    /// Anything else: files, memory, other programs.
    case failure
  }

  package let kind: Kind
  package let description: String

  package init(_ description: String, kind: Kind = .failure) {
    self.description = description
    self.kind = kind
  }

  /// A mistake in the arguments.
  package static func usage(_ description: String) -> UserError {
    UserError(description, kind: .usage)
  }

  package var exitCode: Int32 { kind == .usage ? usageExitCode : EXIT_FAILURE }
}
