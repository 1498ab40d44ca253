import Attention
import Tensors

/// A mask given by a predicate, which knows its coverage only by trying every pair.
struct PredicateMask: AttentionPattern {
  let name: String
  let sees: @Sendable (_ query: Int, _ key: Int) -> Bool

  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    var seen = 0
    for i in queries { for j in keys where sees(i, j) { seen += 1 } }
    return seen == 0 ? .none : seen == keys.count * queries.count ? .all : .some
  }

  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    var element = 0
    for i in queries {
      for j in keys {
        bias[element] = sees(i, j) ? 0 : -.infinity
        element += 1
      }
    }
  }
}

/// A query sees itself, the keys before it in a window, and the first keys.
struct SinkWindow {
  let width: Int
  let sinks: Int

  /// As the kernels are asked.
  var pattern: any AttentionPattern {
    PatternChoice([CausalMask(), WindowMask(width: width), SinkMask(count: sinks)])
      .pattern(tokens: 1 << 20, keyTokens: 1 << 20)
  }

  /// As the oracle is.
  func sees(_ query: Int, _ key: Int) -> Bool {
    key <= query && (key > query - width || key < sinks)
  }
}

/// The masks of the test protocol: each as the kernels see it, and as the oracle does.
struct MaskCase {
  let name: String
  let pattern: any AttentionPattern
  let sees: @Sendable (_ batch: Int, _ query: Int, _ key: Int, _ head: Int) -> Bool

  init(_ name: String, _ sees: @escaping @Sendable (_ query: Int, _ key: Int) -> Bool) {
    self.init(name, PredicateMask(name: name, sees: sees), sees)
  }

  init(
    _ name: String, _ pattern: any AttentionPattern,
    _ sees: @escaping @Sendable (_ query: Int, _ key: Int) -> Bool
  ) {
    self.name = name
    self.pattern = pattern
    self.sees = { _, query, key, _ in sees(query, key) }
  }

  /// Masks that differ from sequence to sequence or from head to head, of numbers that are drawn.
  init(_ choice: PatternChoice, _ inputs: MaskInputs) {
    name = "\(choice)"
    pattern = choice.pattern(inputs)
    let bias = choice.bias(inputs)
    sees = { bias($0, $1, $2, $3) == 0 }
  }

  /// - Parameter turn: windows, and masks of positions alone, take turns.
  static func all(tokens: Int, keyTokens: Int, turn: UInt64 = 0) -> [MaskCase] {
    let offset = keyTokens - tokens
    return [
      MaskCase("full", FullPattern()) { _, _ in true },
      MaskCase("causal", CausalPattern(offset: offset)) { $1 <= $0 + offset },
      MaskCase("dead rows") { i, j in i % 3 != 1 && j <= i + offset },
      ofInput(tokens: tokens, keyTokens: keyTokens, turn: turn),
      windows(tokens: tokens, keyTokens: keyTokens)[Int(turn % 4)],
    ]
  }

  /// Masks of the input, for two sequences and twelve heads at most.
  private static func ofInput(tokens: Int, keyTokens: Int, turn: UInt64) -> MaskCase {
    let kinds: [[any Mask]] = [
      [PaddingMask()], [SegmentMask(), CausalMask()], [ParallelWindowMask(), PaddingMask()],
      [BlockMask(path: "")], [SegmentMask(), PaddingMask()],
      tokens == keyTokens ? [StarMask(), CausalMask()] : [BlockMask(path: ""), PaddingMask()],
    ]
    let choice = PatternChoice(kinds[Int(turn % 6)])
    var inputs = choice.drawnInputs(
      batch: 2, queryHeads: 12, tokens: tokens, keyTokens: keyTokens, seed: turn)
    // Blocks of 7 queries and 9 keys, other ones for each head.
    let blocks = [12, max(1, (tokens + 6) / 7), max(1, (keyTokens + 8) / 9)]
    let isSet = (0..<blocks.reduce(1, *)).map { (block: Int) -> Int32 in
      block * 31 % 7 < 3 ? 1 : 0
    }
    inputs.add(MaskTable(shape: blocks, numbers: isSet), as: "block_mask")
    return MaskCase(choice, inputs)
  }

  /// Windows as they are asked for, with what is seen in spite of them.
  private static func windows(tokens: Int, keyTokens: Int) -> [MaskCase] {
    let offset = keyTokens - tokens
    func of(
      _ masks: [any Mask], _ sees: @escaping @Sendable (_ t: Int, _ key: Int) -> Bool
    ) -> MaskCase {
      let choice = PatternChoice(masks)
      let pattern = choice.pattern(tokens: tokens, keyTokens: keyTokens)
      return MaskCase("\(choice)", pattern) { i, j in sees(i + offset, j) }
    }
    return [
      of([CausalMask(), WindowMask(width: 5)]) { t, j in j <= t && t - j < 5 },
      of([WindowMask(width: 7), SinkMask(count: 3)]) { t, j in abs(t - j) < 7 || j < 3 },
      of([CausalMask(), WindowMask(width: 4, dilation: 3), SinkMask(count: 2)]) { t, j in
        j <= t && (t - j < 12 && (t - j) % 3 == 0 || j < 2)
      },
      of([WindowMask(width: 2), GlobalMask(tokens: [0..<1, 9..<11])]) { t, j in
        abs(t - j) < 2 || [0, 9, 10].contains(t) || [0, 9, 10].contains(j)
      },
    ]
  }
}
