import ArgumentParser
import Attention
import Sharding

/// The options of a command that computes, or predicts, attention under one choice of masks.
struct PatternOptions: ParsableArguments {
  @Flag(
    help: """
      A query sees the keys up to its own position, aligned at the bottom right where there are \
      more keys than queries.
      """)
  var causal = false

  /// What they come to.
  var choice: PatternChoice { PatternChoice(causal ? [CausalMask()] : []) }
}

/// The options of a benchmark that measures attention under several choices of masks in turn.
struct PatternListOptions: ParsableArguments {
  @Option(
    help: """
      With a causal mask, without, or both. (default: both for kernel and longnet, or else true)
      """)
  var causal: CausalChoice?

  /// What they come to.
  ///
  /// - Parameter usual: with a causal mask or without, where nobody says.
  func choices(usual: CausalChoice) -> [PatternChoice] {
    (causal ?? usual).values.map { PatternChoice($0 ? [CausalMask()] : []) }
  }
}

/// `--causal both|true|false`.
enum CausalChoice: String, CaseIterable, ExpressibleByArgument {
  case both
  case yes = "true"
  case no = "false"

  fileprivate var values: [Bool] {
    switch self {
    case .both: [false, true]
    case .yes: [true]
    case .no: [false]
    }
  }
}

extension PatternChoice {
  /// The layout that balances the work, for those who do not name one.
  var usualLayout: Layout { isCausal ? .zigzag : .contiguous }
}
