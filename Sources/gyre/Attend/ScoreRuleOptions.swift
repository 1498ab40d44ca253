import ArgumentParser
import Attention
import AttentionReference

/// What becomes of scores before the softmax, for the kernels and for the oracle.
struct ScoreRuleOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Keep scaled scores s between −X and X, as X·tanh(s/X). (default: as they are)",
      valueName: "X"))
  var softcap: Double?

  func validate() throws {
    guard let softcap else { return }
    let limit = Float(softcap)
    guard limit > 0, limit.isNormal, (1 / limit).isNormal else {
      throw ValidationError(
        "--softcap is \(softcap); give a positive number of ordinary size, such as 50.")
    }
  }

  /// For the kernels; nil if scores stay as they are.
  var rule: (any ScoreRule)? { softcap.map { SoftCap(limit: Float($0)) } }

  /// The same for the oracle, which shares no code with it.
  var reference: (any ReferenceScoreRule)? {
    softcap.map { ReferenceSoftCap(limit: Double(Float($0))) }
  }
}
