import ArgumentParser
import Attention
import AttentionReference

/// What becomes of scores before the softmax, for the kernels and for the oracle: a soft cap first,
/// then biases.
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

  func validate() throws {
    guard let softcap else { return }
    let limit = Float(softcap)
    guard limit > 0, limit.isNormal, (1 / limit).isNormal else {
      throw ValidationError(
        "--softcap is \(softcap); give a positive number of ordinary size, such as 50.")
    }
  }

  /// The options that are given, in the order in which scores meet them.
  var given: [String] {
    (softcap == nil ? [] : ["--softcap"]) + (alibi ? ["--alibi"] : [])
  }

  /// For the kernels; nil if scores stay as they are.
  ///
  /// - Parameters:
  ///   - heads: query heads.
  ///   - slopes: of the input, one for each of them; nil is the published ones.
  ///   - offset: how far past its own position a query stands among the keys.
  func rule(heads: Int, slopes: [Float]? = nil, offset: Int = 0) -> (any ScoreRule)? {
    RuleSequence.joining([
      softcap.map { SoftCap(limit: Float($0)) },
      alibi ? Alibi(slopes: slopes ?? Alibi.slopes(heads: heads), offset: offset) : nil,
    ])
  }

  /// The same for the oracle, which shares no code with it.
  func reference(
    heads: Int, slopes: [Float]? = nil, offset: Int = 0
  ) -> (any ReferenceScoreRule)? {
    var rules: [any ReferenceScoreRule] = []
    if let softcap { rules.append(ReferenceSoftCap(limit: Double(Float(softcap)))) }
    if alibi {
      let slopes = slopes.map { $0.map(Double.init) } ?? ReferenceAlibi.slopes(heads: heads)
      rules.append(ReferenceAlibi(slopes: slopes, offset: offset))
    }
    return rules.count > 1 ? ReferenceRuleSequence(rules) : rules.first
  }
}
