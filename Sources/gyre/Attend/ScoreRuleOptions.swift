import ArgumentParser
import Attention
import AttentionReference
import SequenceParallel

/// What becomes of scores before the softmax, for the kernels and for the oracle: a soft cap first,
/// then biases, and learned sinks beside them all.
struct ScoreRuleOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Keep scaled scores s between −X and X, as X·tanh(s/X). (default: as they are)",
      valueName: "X"))
  var softcap: Double?

  @Flag(
    help: """
      Take a slope times the distance of query and key from each score. Slopes are alibi_slopes \
      [queryHeads] of the input, or else the published ones.
      """)
  var alibi = false

  @Flag(
    help: """
      Add bias [1 or batch, 1 or queryHeads, tokens, keyTokens] of the input, F32, F16 or BF16, to \
      scores; each rank reads its own part. With --gradients OUTPUT gets dbias, in the same shape.
      """)
  var bias = false

  @Flag(
    help: """
      One more logit in the softmax of each row, which has no value: sinks [queryHeads] of the \
      input, as gpt-oss has them. It counts in lse; with --gradients OUTPUT gets dsinks.
      """)
  var learnedSinks = false

  func validate() throws {
    guard let softcap else { return }
    let limit = Float(softcap)
    guard limit > 0, limit.isNormal, (1 / limit).isNormal else {
      throw ValidationError(
        "--softcap is \(softcap); give a positive number of ordinary size, such as 50.")
    }
  }

  /// Refuses what benchmarks have no input for, or do not measure.
  func requireNoTensors() throws {
    if bias {
      throw ValidationError(
        "--bias is a tensor of an input, and there is none here; leave it out.")
    }
    if learnedSinks {
      throw ValidationError(
        "--learned-sinks is not for benchmarks: sinks come in once a row, after the kernels; leave "
          + "it out.")
    }
  }

  /// The options that are given, in the order in which scores meet them.
  var given: [String] {
    (softcap == nil ? [] : ["--softcap"]) + (alibi ? ["--alibi"] : [])
      + (bias ? ["--bias"] : []) + (learnedSinks ? ["--learned-sinks"] : [])
  }

  /// For the kernels; nil if scores stay as they are.
  ///
  /// - Parameters:
  ///   - heads: query heads.
  ///   - slopes: of the input, one for each of them; nil is the published ones.
  ///   - queries: where queries stand.
  ///   - keys: where keys stand.
  ///   - bias: of the input.
  func rule(
    heads: Int, slopes: [Float]? = nil, queries: TokenPositions = TokenPositions(),
    keys: TokenPositions = TokenPositions(), bias: TensorBias? = nil
  ) -> (any ScoreRule)? {
    RuleSequence.joining([
      softcap.map { SoftCap(limit: Float($0)) },
      alibi
        ? Alibi(slopes: slopes ?? Alibi.slopes(heads: heads), queries: queries, keys: keys) : nil,
      bias,
    ])
  }

  /// The same for the oracle, which shares no code with it.
  func reference(
    heads: Int, slopes: [Float]? = nil,
    positions: ReferenceTokenPositions = ReferenceTokenPositions(),
    bias: (any BiasSource)? = nil
  ) -> (any ReferenceScoreRule)? {
    var rules: [any ReferenceScoreRule] = []
    if let softcap { rules.append(ReferenceSoftCap(limit: Double(Float(softcap)))) }
    if alibi {
      let slopes = slopes.map { $0.map(Double.init) } ?? ReferenceAlibi.slopes(heads: heads)
      rules.append(ReferenceAlibi(slopes: slopes, positions: positions))
    }
    if let bias { rules.append(ReferenceBias(bias)) }
    return rules.count > 1 ? ReferenceRuleSequence(rules) : rules.first
  }
}
