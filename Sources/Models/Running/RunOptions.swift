public import Attention
public import SequenceParallel
public import Sharding

/// How a decoder runs over ranks, apart from what it computes, and how far its positions reach.
public struct RunOptions: Sendable {
  /// The threads of this rank.
  public var team = ThreadTeam(threads: 1)
  /// What travels where in attention.
  public var route = Route.ring
  /// Whether a piece may have its queries travel where the ``route`` has keys.
  public var choosesWhatTravels = false
  /// The form in which keys and values are kept.
  public var cacheType = CacheType.f32
  /// The form in which they travel.
  public var keyValueType: WireType { cacheType.wire }
  /// What the attention of a prompt is computed of, and its products with weights unless
  /// ``weightProducts`` says otherwise; those of few tokens at once, as when text is generated,
  /// which memory limits, are computed of `Float`.
  public var arithmetic = Arithmetic.f32
  /// What a prompt's products with weights are computed of; nil for the ``arithmetic``.
  public var weightProducts: ProductArithmetic?
  /// How attention of a prompt adds up; if reproducible, the rows of a prompt are the same bits for
  /// any ranks, threads, routes and chunks.
  ///
  /// Sums of another order differ by roundings of 2⁻²⁴, but some of those decide how
  /// ``weightProducts`` or ``arithmetic`` round the factors of the products that follow: logits
  /// then differ as much as by rounding itself. There is no ``piece`` with it, nor a ``window``,
  /// ``contextWindows`` or layers with states.
  public var accumulation = Accumulation.fast
  /// The most tokens for which the widest rows of a layer are there at a time.
  public var chunk = 512
  /// Whether queries and outputs of attention are there for a ``chunk`` at a time too.
  ///
  /// Keys travel once for each chunk of the rank with most tokens, so that it costs nothing on one
  /// rank alone. Only for routes of keys whose ranks share no heads.
  public var chunksQueries = false
  /// The most tokens of a prompt that all ranks read together; nil reads all at once.
  ///
  /// It is rounded up so that each rank's part is whole pages. What comes later attends to the keys
  /// of what came before in the cache. Rows, queries and outputs are then there for a piece: under
  /// a window memory does not grow with the prompt.
  ///
  /// Source: Agrawal et al. 2024, Sarathi-Serve, section 4.1 (chunked prefills).
  public var piece: Int?
  /// Whether many tokens may follow at once after the prompt, as in a conversation.
  public var isFollowed = false
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
  /// The first keys, which are seen in spite of ``window``, from next to the window: a query stands
  /// to them as in a cache of nothing but sinks and window.
  ///
  /// Source: Xiao et al. 2023, StreamingLLM, section 3.2.
  public var sinks = 0
  /// Windows that do not see each other, of which the sequence consists, with a task after them;
  /// nil for a text in one piece.
  ///
  /// With them there is no ``window``, nor has a layer one.
  public var contextWindows: ContextWindows?
  /// Sequences that fork from the prompt, which stays while they grow; 0 where it grows itself.
  public var forks = 0
  /// Tokens of a page of the cache; see ``PagedCache``.
  public var pageTokens = 256

  /// The defaults.
  public init() {}

  /// What the queries of a layer see.
  func pattern(_ layer: DecoderLayer) -> any AttentionPattern {
    if let contextWindows {
      return IntersectedPattern([CausalPattern(), contextWindows.pattern])
    }
    guard let width = width(layer) else { return CausalPattern() }
    let inWindow = WindowPattern(width: width)
    let sinks = sinks(layer)
    if sinks == 0 { return IntersectedPattern([CausalPattern(), inWindow]) }
    return IntersectedPattern([
      CausalPattern(), UnitedPattern([inWindow, SinkPattern(count: sinks)]),
    ])
  }

  /// The same without sinks.
  func patternOfLater(_ layer: DecoderLayer) -> any AttentionPattern {
    IntersectedPattern([pattern(layer), KeyRangePattern(sinks(layer)..<Int.max)])
  }

  /// Sinks of a layer: what a model's own windows hide stays hidden.
  func sinks(_ layer: DecoderLayer) -> Int {
    guard let window, (layer.window ?? .max) > window else { return 0 }
    return sinks
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

  /// What a prompt's products with weights are computed of.
  package var productArithmetic: ProductArithmetic {
    if let weightProducts { return weightProducts }
    return switch arithmetic {
    case .f32: .f32
    case .bf16: .bf16
    }
  }

  /// Which rank holds which tokens.
  func sharding(tokens: Int, ranks: Int) -> Sharding {
    if layout == nil, let contextWindows {
      return contextWindows.sharding(tokens: tokens, ranks: ranks)
    }
    return Sharding(
      dividingLayout, tokens: tokens, ranks: ranks, granularity: accumulation.granularity)
  }

  /// Whether many tokens that follow a prompt are divided among ranks as a prompt is.
  var dividesFollowUps: Bool { contextWindows == nil && accumulation == .fast }

  /// Tokens of a ``piece`` for which little is lost by reading in pieces: four chunks of each rank,
  /// or a window if that is more.
  public func usualPiece(ranks: Int) -> Int { ranks * max(4 * chunk, window ?? 0) }

  /// Those where memory then does not grow with the prompt: under a window, or where layers carry
  /// states; nil elsewhere.
  public func boundedPiece(of decoder: Decoder, ranks: Int) -> Int? {
    window != nil || decoder.carriesState ? usualPiece(ranks: ranks) : nil
  }

  /// These, or where memory does not suffice for them others: a prompt whose keys are kept is read
  /// in pieces, another with its queries in chunks.
  ///
  /// - Parameters:
  ///   - keepsKeys: whether keys and values stay.
  ///   - suffices: whether there is memory for some options.
  public func fitted(
    keepsKeys: Bool, ranks: Int, suffices: (RunOptions) throws -> Bool
  ) rethrows -> RunOptions {
    if try suffices(self) { return self }
    var saving = self
    if keepsKeys, piece == nil, contextWindows == nil, accumulation == .fast {
      saving.piece = usualPiece(ranks: ranks)
    } else if route.travelling == .keys, route.heads == .nobody {
      saving.chunksQueries = true
    }
    return saving
  }

  /// The same for tokens that follow a prompt, which are always read in pieces.
  func ofFollowUp(ranks: Int) -> RunOptions {
    var options = self
    options.piece = piece ?? usualPiece(ranks: ranks)
    return options
  }

  /// How tokens are divided that are no context windows.
  var dividingLayout: Layout { layout ?? (window == nil ? .zigzag : .contiguous) }
}
