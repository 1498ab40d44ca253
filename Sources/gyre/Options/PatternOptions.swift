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

/// The options of a command that predicts attention under one choice of masks, without an input.
struct PatternOptions: ParsableArguments {
  @OptionGroup var causal: CausalOption
  @OptionGroup var window: WindowOptions
  @OptionGroup var ofInput: InputMaskOptions

  /// What they come to.
  var choice: PatternChoice { PatternChoice(causal.choice.masks + others) }

  /// All but the causal one.
  var others: [any Mask] { window.masks + ofInput.masks }

  /// Refuses masks that dilated attention, whose pattern is its own, does not have.
  func requireDilatable() throws { try requireNone(of: others) }
}

/// The options of a command that computes attention under one choice of masks, of which one has a
/// file of its own.
struct FilePatternOptions: ParsableArguments {
  @OptionGroup var pattern: PatternOptions
  @OptionGroup var blocks: BlockMaskOption

  /// What they come to.
  var choice: PatternChoice { PatternChoice(pattern.choice.masks + blocks.masks) }

  /// What they say of a window.
  var window: WindowOptions { pattern.window }

  /// What they say of masks that the input has.
  var ofInput: InputMaskOptions { pattern.ofInput }

  /// Refuses masks that dilated attention, whose pattern is its own, does not have.
  func requireDilatable() throws { try requireNone(of: pattern.others + blocks.masks) }
}

private func requireNone(of masks: [any Mask]) throws {
  guard let mask = masks.first else { return }
  throw ValidationError(
    "--\(type(of: mask).name) cannot be used with --dilated, which has a pattern of its own; "
      + "leave one of them out.")
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
