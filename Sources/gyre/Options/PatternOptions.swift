import ArgumentParser
import Attention
import Sharding

/// The option of a command that knows no other mask: dilated attention has its own pattern.
struct CausalOption: ParsableArguments {
  @Flag(
    help: """
      A query sees the keys up to its own position, aligned at the bottom right where there are \
      more keys than queries.
      """)
  var causal = false

  /// What they come to.
  var choice: PatternChoice { PatternChoice(causal ? [CausalMask()] : []) }
}

/// The options of a command that computes, or predicts, attention under one choice of masks.
struct PatternOptions: ParsableArguments {
  @OptionGroup var causal: CausalOption
  @OptionGroup var window: WindowOptions
  @OptionGroup var ofInput: InputMaskOptions
  @OptionGroup var blocks: BlockMaskOption

  /// What they come to.
  var choice: PatternChoice {
    PatternChoice(causal.choice.masks + others)
  }

  /// All but the causal one.
  private var others: [any Mask] { window.masks + ofInput.masks + blocks.masks }

  /// Refuses masks that dilated attention, whose pattern is its own, does not have.
  func requireDilatable() throws {
    guard let mask = others.first else { return }
    throw ValidationError(
      "--\(type(of: mask).name) cannot be used with --dilated, which has a pattern of its own; "
        + "leave one of them out.")
  }
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
  /// - Parameters:
  ///   - usual: with a causal mask or without, where nobody says.
  ///   - masks: what each has besides.
  func choices(usual: CausalChoice, with masks: [any Mask] = []) -> [PatternChoice] {
    (causal ?? usual).values.map { PatternChoice(($0 ? [CausalMask()] : []) + masks) }
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
  /// The layout of dilated attention, for those who do not name one.
  var usualLayout: Layout { self == .causal ? .zigzag : .contiguous }
}
