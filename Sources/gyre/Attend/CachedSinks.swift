import ArgumentParser
import Attention
import AttentionReference
import SequenceParallel

/// Sinks that stand next to the window, as in a cache: how many there are, and where queries stand
/// for them, for the kernels and for the oracle.
struct CachedSinks {
  let count: Int
  let window: Int
  let offset: Int

  /// Where queries stay for sinks.
  private var last: Int { count + window - 1 }

  /// Where queries stand for sinks.
  var queries: TokenPositions { TokenPositions(offset: offset, last: last) }

  /// The same for the oracle.
  var reference: ReferenceTokenPositions {
    let (offset, last) = (offset, Double(last))
    return ReferenceTokenPositions(
      query: { min(Double($1) + Double(offset), last) }, key: { Double($1) })
  }

  /// The rule of sinks where they are, and that of later keys elsewhere.
  struct ReferenceRule: ReferenceScoreRule {
    let count: Int
    let sinks: any ReferenceScoreRule
    let later: any ReferenceScoreRule

    func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
      (key < count ? sinks : later).score(s, batch: batch, query: query, key: key, head: head)
    }

    func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
      (key < count ? sinks : later).slope(s, batch: batch, query: query, key: key, head: head)
    }
  }
}

extension AttendCommand {
  /// Refuses sinks that cannot stand next to a window.
  func checkSinkPositions() throws {
    guard positions.sinkPositions == .cache else { return }
    guard masks.window.sinks != nil, masks.choice.isCausal else {
      throw ValidationError(
        "--sink-positions cache is of a cache of sinks and a window; give --causal, --window and "
          + "--sinks with it, or leave it out.")
    }
    guard masks.window.windowDilation == 1, masks.window.globals == nil else {
      throw ValidationError(
        "--sink-positions cache is for a window without gaps and other keys: such a cache holds "
          + "the last keys and the sinks; leave --window-dilation and --globals out.")
    }
    guard !masks.ofInput.parallelWindows, !masks.ofInput.structured else {
      throw ValidationError(
        "--sink-positions cache and context windows both say where tokens stand; leave one of them "
          + "out.")
    }
    guard positions.pairing != nil || scoreRule.alibi else {
      throw ValidationError(
        "--sink-positions says where sinks stand, and nothing asks; give --rope or --alibi with "
          + "it, or leave it out.")
    }
    guard !positions.positionIds else {
      throw ValidationError(
        "--sink-positions cache goes by the order of tokens, and --position-ids does not; leave "
          + "one of them out.")
    }
  }

  /// The sinks of a run; nil if they stand where they are in the sequence.
  func cachedSinks(_ input: AttentionInput) -> CachedSinks? {
    guard positions.sinkPositions == .cache, let count = masks.window.sinks,
      let window = masks.window.window
    else { return nil }
    return CachedSinks(count: count, window: window, offset: input.offset)
  }

  /// What computes with them.
  func describe(
    _ sinks: CachedSinks, _ input: AttentionInput, _ positions: RotaryPositions?,
    bias parts: [BiasPart]
  ) -> CachedSinkAttention.Sinks {
    CachedSinkAttention.Sinks(
      count: sinks.count, window: sinks.window, offset: sinks.offset, rotation: positions,
      scoreRule: scoreRule.rule(
        heads: input.shape.queryHeads, slopes: input.alibiSlopes, queries: sinks.queries,
        bias: input.bias == nil ? nil : TensorBias(parts)))
  }
}
