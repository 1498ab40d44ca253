public import Attention
public import SequenceParallel
public import Sharding

/// How a decoder runs over ranks, apart from what it computes, and how far its positions reach.
public struct RunOptions: Sendable {
  /// The threads of this rank.
  public var team = ThreadTeam(threads: 1)
  /// What travels where in attention.
  public var route = Route.ring
  /// The form in which keys and values travel and are kept.
  public var keyValueType = WireType.f32
  /// What the products of a prompt and its attention are computed of; those of tokens that are
  /// generated, which memory limits, are always computed of `Float`.
  public var arithmetic = Arithmetic.f32
  /// The most tokens for which the widest rows of a layer are there at a time.
  public var chunk = 512
  /// Which rank holds which tokens; nil balances the work.
  public var layout: Layout?
  /// What becomes of the model's frequencies in layers without a window; nil leaves them as the
  /// model has them.
  public var scaling: RotaryScaling?
  /// A query sees so many keys up to its own, in all layers; nil for what the model says.
  public var window: Int?
  /// Whether ranks share the products of a token that is generated, each computing some columns
  /// of all of them; or each computes them all.
  public var dividesWeights = true
  /// The first keys, which are seen in spite of ``window``.
  public var sinks = 0

  /// The defaults.
  public init() {}

  /// What the queries of a layer see.
  func pattern(_ layer: DecoderLayer) -> any AttentionPattern {
    guard let width = width(layer) else { return CausalPattern() }
    let inWindow = WindowPattern(width: width)
    // What a model's own windows hide stays hidden.
    if sinks == 0 || window == nil { return IntersectedPattern([CausalPattern(), inWindow]) }
    return IntersectedPattern([
      CausalPattern(), UnitedPattern([inWindow, SinkPattern(count: sinks)]),
    ])
  }

  /// Keys that a query of a layer sees up to its own; nil for all.
  func width(_ layer: DecoderLayer) -> Int? {
    [window, layer.window].compactMap { $0 }.min()
  }

  /// What turns the rows of a layer.
  func rotation(_ layer: DecoderLayer) -> Decoder.Rotation? {
    guard var rotation = layer.rotation else { return nil }
    if let scaling, layer.window == nil { rotation.scaling = scaling }
    return rotation
  }

  /// Which rank holds which tokens.
  func sharding(tokens: Int, ranks: Int) -> Sharding {
    Sharding(layout ?? (window == nil ? .zigzag : .contiguous), tokens: tokens, ranks: ranks)
  }
}
