import ArgumentParser

/// One of `--schemes`: what becomes of positions, or what a token sees.
struct SchemeArgument: CustomStringConvertible, Sendable {
  /// As it was given.
  let description: String
  private let kind: Kind

  private enum Kind: Sendable {
    /// As the model says.
    case model
    case scaling(RopeScalingArgument)
    case window(Int, sinks: Int?)
  }

  /// Parses a name and its numbers.
  init(parsing text: String) throws {
    description = text
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    switch parts[0] {
    case "model":
      guard parts.count == 1 else { throw ValidationError("model has no numbers; give model.") }
      kind = .model
    case "window":
      let numbers = parts.dropFirst().flatMap {
        $0.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
      }
      guard (1...2).contains(numbers.count), numbers.allSatisfy({ $0 >= 1 }) else {
        throw ValidationError("give window:W or window:W,S, for example window:2044,4.")
      }
      kind = .window(numbers[0], sinks: numbers.count > 1 ? numbers[1] : nil)
    default: kind = .scaling(try RopeScalingArgument(parsing: text))
    }
  }

  /// The file that has to be read; nil if there is none.
  var path: String? {
    if case .scaling(let scaling) = kind { scaling.path } else { nil }
  }

  /// The options of a model that it stands for.
  func applied(to options: ModelOptions) -> ModelOptions {
    var options = options
    switch kind {
    case .model: break
    case .scaling(let scaling): options.ropeScaling = scaling
    case .window(let window, let sinks): (options.window, options.sinks) = (window, sinks)
    }
    return options
  }
}
