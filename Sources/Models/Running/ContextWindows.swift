import Attention
import Sharding
import Tensors

/// Context windows that do not see each other, and a task after them that sees them all: parallel
/// context windows, or structured prompting.
///
/// Windows begin at position 0 each, and the task where the longest ends; with structured prompting
/// they end together, and the task's own keys weigh as much as one in each window. So texts
/// together may be longer than a model was trained for.
///
/// Sources: Ratner et al. 2023, Parallel Context Windows; Hao et al. 2022, Structured Prompting.
public struct ContextWindows: Sendable {
  /// Tokens of each window, in their order.
  public let lengths: [Int]
  /// Whether the task's own keys are weighted, and windows end together.
  public let isStructured: Bool
  let pattern: any AttentionPattern
  let scoreRule: (any ScoreRule)?
  /// Where each token stands.
  let places: TokenPositions

  /// Describes windows and a task.
  ///
  /// - Parameters:
  ///   - lengths: each at least 1.
  ///   - context: tokens of windows and task, at most.
  /// - Complexity: O(`context`), 4 bytes a token.
  public init(_ lengths: [Int], isStructured: Bool, context: Int) {
    let tokens = lengths.reduce(0, +)
    precondition(!lengths.isEmpty && lengths.allSatisfy { $0 > 0 }, "a window without tokens")
    precondition(context >= tokens, "no room for the windows")
    self.lengths = lengths
    self.isStructured = isStructured
    let labels =
      lengths.enumerated().flatMap { Array(repeating: Int32($0), count: $1) }
      + Array(repeating: -1, count: context - tokens)
    let mask = isStructured ? ParallelWindowMask.structured : ParallelWindowMask(.left)
    let inputs = MaskInputs(
      tokens: context, keyTokens: context,
      tables: ["segment_ids": MaskTable(shape: [1, context], numbers: labels)])
    pattern = mask.pattern(inputs)
    scoreRule = mask.scoreRule(inputs)
    places = TokenPositions(mask.positions(inputs).keys[0], batch: 1) ?? TokenPositions()
  }

  /// Tokens of all windows.
  public var tokens: Int { lengths.reduce(0, +) }

  /// The position of the first token of the task.
  public var taskPosition: Int { lengths.max() ?? 0 }

  /// Whole windows go to ranks, the longest first, each to the rank that has the fewest tokens: no
  /// key of a window travels while windows are read.
  ///
  /// What tokens of the task there are is divided as evenly as can be. Fewer windows than ranks are
  /// divided as any sequence is.
  func sharding(tokens: Int, ranks: Int) -> Sharding {
    guard lengths.count >= ranks, tokens >= self.tokens else {
      return Sharding(.zigzag, tokens: tokens, ranks: ranks)
    }
    var starts: [Int] = []
    for length in lengths { starts.append((starts.last ?? 0) + length) }
    var shards = Array(repeating: [PositionRange](), count: ranks)
    var loads = Array(repeating: 0, count: ranks)
    let order = lengths.indices.sorted { (lengths[$0], $1) > (lengths[$1], $0) }
    for window in order {
      let rank = loads.indices.min { loads[$0] < loads[$1] } ?? 0
      let length = lengths[window]
      shards[rank].append(PositionRange(start: starts[window] - length, count: length))
      loads[rank] += length
    }
    let task = Sharding(.zigzag, tokens: tokens - self.tokens, ranks: ranks)
    for rank in shards.indices {
      shards[rank] += task.shards[rank].map {
        PositionRange(start: $0.start + self.tokens, stride: $0.stride, count: $0.count)
      }
      shards[rank].sort { $0.start < $1.start }
    }
    return Sharding(layout: nil, tokens: tokens, shards: shards)
  }
}
