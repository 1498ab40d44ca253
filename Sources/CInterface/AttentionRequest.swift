import Attention
import CGyre
import LongNet
import Reporting
import SequenceParallel
import Sharding
import Tensors

/// What of `gyre_attention` is the same on all ranks, checked.
struct AttentionRequest: Hashable {
  var shape: AttentionShape
  var isCausal: Bool
  var window: Int?
  /// How far neighbouring keys of the window are apart.
  var windowDilation: Int
  var sinks: Int?
  var segments: Segments?
  /// Whether a connection takes other segments in each pass.
  var segmentsMayChange = false
  /// Logits of learned sinks, one for each query head.
  var learnedSinks: [Float]?
  /// What of a bias there is beside pairs of tokens.
  var bias: BiasShape?
  var alibiSlopes: [Float]?
  var softcap: Float?
  var scale: Double?
  var layout: Layout
  /// Nil is chosen.
  var route: Route?
  var arithmetic: Arithmetic
  var wire: WireType
  var accumulation: Accumulation
  var branches: [DilatedBranch]
  /// Of the whole sequence, once the ranks have met.
  var tokens = 0
  var keyTokens = 0

  /// Which tokens are of one segment, for each sequence `[batch, tokens]` of all ranks.
  struct Segments: Hashable {
    var queries: [Int32]
    /// Nil if they are those of the queries.
    var keys: [Int32]?
  }

  /// The sequences and the heads that have biases of their own, 1 where all share one.
  struct BiasShape: Hashable {
    let batch: Int
    let heads: Int
    let keys: Int
  }

  /// Who holds which queries.
  var queries: Sharding { sharding(tokens: tokens) }
  /// Who holds which keys.
  var keys: Sharding { sharding(tokens: keyTokens) }

  /// In words, with all that has to be the same on all ranks.
  func words(_ pass: String) -> String {
    let options: [String?] = [
      "\(shape.queryHeads) query heads, \(shape.kvHeads) KV heads, head dims \(shape.headDim) and "
        + "\(shape.valueHeadDim), \(counted(shape.batch, "sequence"))",
      isCausal ? "causal" : nil, window.map { "window \($0) dilation \(windowDilation)" },
      sinks.map { "sinks \($0)" },
      segments == nil ? nil : "segments", alibiSlopes.map { "slopes \($0)" },
      learnedSinks.map { "learned sinks \($0)" },
      bias.map { "bias [\($0.batch), \($0.heads), tokens, \($0.keys)]" },
      softcap.map { "softcap \($0)" }, scale.map { "scale \($0)" }, "layout \(layout)",
      "route \(route.map { "\($0)" } ?? "auto")", "arithmetic \(arithmetic)", "wire \(wire)",
      accumulation == .reproducible ? "reproducible" : nil,
      branches.isEmpty
        ? nil
        : "branches "
          + branches.map { "\($0.segmentLength):\($0.dilationRate)" }.joined(separator: ","),
    ]
    return "computes \(pass) (\(options.compactMap { $0 }.joined(separator: ", ")))"
  }

  private func sharding(tokens: Int) -> Sharding {
    Sharding(
      layout, tokens: tokens, ranks: ranks, granularity: accumulation.granularity)
  }

  /// The ranks of the job.
  var ranks = 1

  /// Takes the sizes that the ranks have told each other.
  ///
  /// - Throws: a sentence, where a rank has not the rows that the layout gives it.
  mutating func take(_ tokens: MeetingTokens) throws {
    ranks = tokens.queries.count
    self.tokens = tokens.queries.reduce(0, +)
    keyTokens = tokens.keys.reduce(0, +)
    for (held, sharding, what) in [
      (tokens.queries, queries, "rows of q"), (tokens.keys, keys, "rows of k and v"),
    ] {
      for (rank, count) in held.enumerated() where count != sharding.tokenCount(of: rank) {
        throw SharedFailure(
          description: "rank \(rank) has \(grouped(count)) \(what), and the layout \(layout) of "
            + "\(grouped(sharding.tokens)) tokens on \(counted(ranks, "rank")) gives it "
            + "\(grouped(sharding.tokenCount(of: rank))); cut sequences with gyre.shard"
            + (accumulation == .reproducible ? "(reproducible=True)." : "."))
      }
    }
    if let bias, bias.keys != keyTokens {
      throw SharedFailure(
        description: "bias has \(grouped(bias.keys)) keys, and all ranks together have "
          + "\(grouped(keyTokens)); give a column for each of them.")
    }
    guard branches.isEmpty || self.tokens == keyTokens else {
      throw SharedFailure(
        description: "dilated attention is of a sequence to itself, and there are "
          + "\(grouped(self.tokens)) queries and \(grouped(keyTokens)) keys; give as many of both.")
    }
    let pairs =
      Double(self.tokens) * Double(keyTokens) * Double(shape.batch) * Double(shape.queryHeads)
    guard pairs < 0x1p61 else {
      throw SharedFailure(description: "there are more pairs of tokens than can be counted.")
    }
  }

  /// The request without what may be another in each pass of a connection: learned sinks, which
  /// are one more logit of what all blocks come to, and segments where keys are read in place.
  ///
  /// Between hosts what travels depends on segments.
  func kind(on topology: Topology) -> AttentionRequest {
    var kind = self
    kind.learnedSinks = nil
    if segments != nil, topology.nodes.count == 1, route == nil || route == .shared {
      kind.segments = nil
      kind.segmentsMayChange = true
    }
    return kind
  }

  /// The shape of the whole bias; of none there are no rows.
  var biasShape: Shape { [bias?.batch ?? 1, bias?.heads ?? 1, tokens, keyTokens] }

  /// What a query sees.
  ///
  /// - Throws: a `MaskError`.
  func pattern() throws -> any AttentionPattern {
    var masks: [any Mask] = isCausal ? [CausalMask()] : []
    if let window { masks.append(WindowMask(width: window, dilation: windowDilation)) }
    if let sinks { masks.append(SinkMask(count: sinks)) }
    var inputs = MaskInputs(
      batch: shape.batch, queryHeads: shape.queryHeads, tokens: tokens, keyTokens: keyTokens)
    if let segments {
      masks.append(SegmentMask())
      inputs.add(
        MaskTable(shape: [shape.batch, tokens], numbers: segments.queries), as: "segment_ids")
      if let keys = segments.keys {
        inputs.add(
          MaskTable(shape: [shape.batch, keyTokens], numbers: keys), as: "key_segment_ids")
      }
    }
    let choice = PatternChoice(masks)
    try choice.check(inputs)
    return choice.pattern(inputs)
  }

  /// What becomes of scores.
  ///
  /// - Parameter bias: what this rank has of one; nil for none.
  func scoreRule(bias: BiasPart?) -> (any ScoreRule)? {
    RuleSequence.joining([
      softcap.map { SoftCap(limit: $0) },
      alibiSlopes.map { Alibi(slopes: $0, offset: keyTokens - tokens) },
      bias.map { TensorBias([$0]) },
    ])
  }
}
