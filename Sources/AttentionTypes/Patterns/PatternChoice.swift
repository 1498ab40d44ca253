import Tensors

/// Which keys each query of a run sees, as it was asked for: what the command, the benchmarks, the
/// predictor, the check and the reports hand on to each other.
///
/// It is a list of masks, all of which must allow a pair; without any it is full attention. It
/// knows no numbers of tokens: ``pattern(_:)`` makes of it what kernels ask.
public struct PatternChoice: Hashable, Sendable {
  /// All masks that there are, in the order of reports.
  ///
  /// A new one has its file, its line here, and its option in `PatternOptions` of the command.
  package static let kinds: [any Mask.Type] = [
    CausalMask.self, WindowMask.self, SinkMask.self, GlobalMask.self, SegmentMask.self,
    PaddingMask.self, BlockMask.self, ParallelWindowMask.self, StarMask.self,
    EtcMask.self,
  ]

  /// Every query sees every key.
  public static let full = PatternChoice([])
  /// A query sees no key after itself.
  public static let causal = PatternChoice([CausalMask()])

  /// At most one of a kind, in the order of the kinds.
  public let masks: [any Mask]

  /// Lays masks over each other; of several of a kind the last counts.
  public init(_ masks: [any Mask]) {
    self.masks = Self.kinds.compactMap { kind in masks.last { type(of: $0) == kind } }
  }

  /// Whether one of the masks is the causal one.
  public var isCausal: Bool { masks.contains { $0 is CausalMask } }

  /// Masks of which all must allow a pair, each with those that may do so in its place.
  private var rules: [[any Mask]] {
    masks.filter { type(of: $0).exempted == nil }.map { mask in
      [mask] + masks.filter { type(of: $0).exempted == type(of: mask) }
    }
  }

  /// The tensors of whole numbers that the masks read from the input.
  public var tensors: [MaskTensor] { masks.flatMap(\.tensors) }

  /// Refuses whole numbers that the masks cannot be made of.
  ///
  /// - Throws: a ``MaskError``.
  public func check(_ inputs: MaskInputs) throws {
    for mask in masks { try mask.check(inputs) }
  }

  /// The inputs of a problem of these sizes that has no files: numbers are drawn from a seed.
  public func drawnInputs(
    batch: Int = 1, queryHeads: Int = 1, tokens: Int, keyTokens: Int, seed: UInt64 = 0
  ) -> MaskInputs {
    var inputs = MaskInputs(
      batch: batch, queryHeads: queryHeads, tokens: tokens, keyTokens: keyTokens)
    for mask in masks {
      var random = MaskRandom(seed: seed)
      for (name, table) in mask.drawn(for: inputs, from: &random) {
        inputs.add(table, as: name)
      }
    }
    return inputs
  }

  /// What kernels ask of a problem without an input; see ``pattern(_:)``.
  ///
  /// - Parameters:
  ///   - tokens: queries of a sequence; where they are fewer than the keys, its last.
  ///   - keyTokens: its keys.
  public func pattern(tokens: Int, keyTokens: Int) -> any AttentionPattern {
    pattern(drawnInputs(tokens: tokens, keyTokens: keyTokens))
  }

  /// What kernels ask.
  ///
  /// - Parameter inputs: the sizes of the problem, and all ``tensors``.
  public func pattern(_ inputs: MaskInputs) -> any AttentionPattern {
    let patterns = rules.map { masks -> any AttentionPattern in
      let patterns = masks.map { $0.pattern(inputs) }
      return patterns.count == 1 ? patterns[0] : UnitedPattern(patterns)
    }
    return switch patterns.count {
    case 0: FullPattern()
    case 1: patterns[0]
    default: IntersectedPattern(patterns)
    }
  }

  /// What becomes of the scores that the masks show; nil if they stay as they are.
  public func scoreRule(_ inputs: MaskInputs) -> (any ScoreRule)? {
    RuleSequence.joining(masks.map { $0.scoreRule(inputs) })
  }

  /// What a check adds to a score by the definitions of the masks: 0 where query `i` sees key `j`,
  /// −∞ where it does not.
  public func bias(
    _ inputs: MaskInputs
  ) -> @Sendable (_ batch: Int, _ query: Int, _ key: Int, _ head: Int) -> Double {
    let rules = rules
    return { batch, query, key, head in
      rules.allSatisfy { masks in
        masks.contains { $0.allows(query: query, key: key, batch: batch, head: head, inputs) }
      } ? 0 : -.infinity
    }
  }

  /// The visible pairs of one head where a sequence attends to itself, in floating point since they
  /// may exceed an integer; those of the first head and sequence where they differ.
  ///
  /// - Complexity: O(1) for no mask and for one that has a closed form, alone or with the causal
  ///   one; else they are counted.
  public func pairs(tokens: Int) -> Double {
    let count = Double(tokens)
    if masks.isEmpty { return count * count }
    let others = masks.count > 1 ? masks.filter { !($0 is CausalMask) } : masks
    if others.count == 1, let pairs = others[0].pairs(tokens: count, isCausal: isCausal) {
      return pairs
    }
    let all = PositionRange(0..<tokens)
    let pattern = pattern(tokens: tokens, keyTokens: tokens)
    return Double(pattern.visiblePairs(keys: all, queries: all))
  }

  /// Whether both have the same masks.
  public static func == (first: PatternChoice, second: PatternChoice) -> Bool {
    first.masks.map { AnyHashable($0) } == second.masks.map { AnyHashable($0) }
  }

  /// Mixes the masks in.
  public func hash(into hasher: inout Hasher) {
    for mask in masks { hasher.combine(AnyHashable(mask)) }
  }
}

extension PatternChoice: CustomStringConvertible {
  /// In a few words, for people: `full`, or `causal`.
  public var description: String {
    masks.isEmpty ? "full" : masks.map(\.words).joined(separator: ", ")
  }
}
