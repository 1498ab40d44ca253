import Attention
import FoundationEssentials
import MPI
import Reporting
import SequenceParallel
import Sharding

/// What one rank did.
struct RankReport: Encodable {
  let rank: Int
  var host = ""
  let threads: Int
  let tokens: Int
  /// Of the passes.
  let seconds: Double
  let forwardSeconds: Double
  /// 0 without gradients.
  let backwardSeconds: Double
  /// Before the passes: reading, or generating, and packing.
  let loadSeconds: Double
  /// After them: looking for infinities, and the check if there is one.
  var checkSeconds = 0.0
  /// Without an output 0.
  var writeSeconds = 0.0
  let computeSeconds: Double
  let waitSeconds: Double
  let flops: Double
  /// Useful flops a second of computing.
  let flopsPerSecond: Double
  let bytesSent: Int
  let messagesSent: Int
  /// Whose kernels computed.
  var instructionSet = ""
  /// From loading to writing.
  var peakResidentBytes = 0
}

/// What all ranks did, as rank 0 reports it.
///
/// The names are the fields of the JSON object.
struct RunReport: Encodable {
  let ranks: Int
  let batch: Int
  let tokens: Int
  let keyTokens: Int
  let queryHeads: Int
  let kvHeads: Int
  let headDim: Int
  let valueHeadDim: Int
  /// The limit of scores; null if they stay as they are.
  let softcap: Nullable<Double>
  let alibi: Bool
  /// Whether a tensor was added to scores.
  let bias: Bool
  let learnedSinks: Bool
  let rope: Nullable<String>
  let ropeScaling: Nullable<String>
  let xpos: Bool
  /// Whether tokens stand where the input says.
  let positionIds: Bool
  /// Where sinks stand: original or cache.
  let sinkPositions: String
  let layout: String
  /// Why, where it was chosen; null if attention is dilated.
  let layoutReason: Nullable<String>
  let wire: String
  /// What products were computed of.
  let arithmetic: String
  /// Of the rank with fewest.
  let threads: Int
  /// Whose kernels computed; several if the ranks have different processors.
  let instructionSet: String
  /// Whether there was a backward pass.
  let gradients: Bool
  /// Whether the bits do not depend on ranks, layout, transport, threads and instruction sets.
  let reproducible: Bool
  let transport: String
  /// What travelled in the forward pass, keys or queries; null if attention was dilated.
  let travel: Nullable<String>
  let transportReason: String
  /// What travelled in the backward pass, kv or query, and why; null without gradients.
  let backwardRoute: Nullable<String>
  let backwardRouteReason: Nullable<String>
  /// Of the slowest rank, for the passes themselves.
  let seconds: Double
  let forwardSeconds: Double
  let backwardSeconds: Double
  /// Of the slowest rank, before and after the passes.
  let loadSeconds: Double
  let checkSeconds: Double
  let writeSeconds: Double
  /// Of all ranks together: 2 · (headDim + valueHeadDim) a visible pair forward, 6 · headDim +
  /// 4 · valueHeadDim backward.
  let flops: Double
  let flopsPerSecond: Double
  /// The largest of any rank.
  let bytesSentPerRank: Int
  let messagesPerRank: Int
  let computeSeconds: Double
  let waitSeconds: Double
  /// Largest over mean time computing.
  let imbalance: Double
  /// Largest over mean useful flops.
  let workImbalance: Double
  let peakResidentBytes: Int
  /// Null unless the run was checked.
  let maxError: Nullable<Double>
  let tolerance: Nullable<Double>
  /// The part of the tolerance that is for what the wire type loses.
  let wireTolerance: Nullable<Double>
  let checkedRows: Int
  /// Null unless gradients were checked.
  let maxGradientError: Nullable<Double>
  let gradientTolerance: Nullable<Double>
  /// Null unless attention is dilated.
  let dilated: Nullable<DilatedReport>
  /// Which ranks see how much of which blocks; null if attention is dilated.
  let coverage: Nullable<CoverageReport>
  let perRank: [RankReport]
}
