/// How a command ended, and what it said.
public struct CommandResult: Sendable, CustomStringConvertible {
  /// The way in which a process ends.
  public enum Ending: Sendable, Hashable {
    /// It exited with a code; 0 is success.
    case exited(Int)
    /// A signal killed it.
    case signaled(Int)
    /// It ran longer than it was given, and was killed with all that it had started.
    case timedOut
  }

  /// How it ended.
  public let ending: Ending
  /// What it wrote to standard output.
  public let standardOutput: String
  /// What it wrote to standard error.
  public let standardError: String
  /// How long it ran.
  public let seconds: Double

  /// Whether it exited with code 0.
  public var isSuccess: Bool { ending == .exited(0) }

  /// The ending, the time and both outputs, for the comment of a failed expectation.
  public var description: String {
    "\(ending) after \(seconds) s\n--- stdout\n\(standardOutput)\n--- stderr\n\(standardError)"
  }
}
