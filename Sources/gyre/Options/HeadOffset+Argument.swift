public import ArgumentParser
public import LongNet

/// `--head-offset modulo|grouped`.
extension HeadOffset: ExpressibleByArgument {
  /// Takes a name.
  public init?(argument: String) {
    switch argument {
    case "modulo": self = .modulo
    case "grouped": self = .grouped
    default: return nil
    }
  }

  /// As it is written on the command line.
  public var defaultValueDescription: String { "\(self)" }

  /// The names.
  public static var allValueStrings: [String] { ["modulo", "grouped"] }

  /// The names.
  public static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }
}
