import Attention
import Benchmarks
import Reporting
import ScalingModel

/// One row of a prediction.
typealias PredictResult = WithPattern<PredictFields>

/// What such a row has besides the masks.
struct PredictFields {
  let pass: String
  /// A transport of dense attention, or a placement of dilated attention.
  let transport: String
  let ranks: Int
  let hosts: Int
  let threads: Int
  let tokens: Int
  let queryHeads: Int
  let kvHeads: Int
  let headDim: Int
  let valueHeadDim: Int
  let layout: String
  let wire: String
  /// Null for `f32`.
  let arithmetic: Nullable<String>
  /// Null if scores stay as they are.
  let softcap: Nullable<Double>
  let alibi: Bool
  /// Whether a tensor is added to scores.
  let bias: Bool
  let learnedSinks: Bool
  /// Null if no rows are turned.
  let rope: Nullable<String>
  let xpos: Bool
  let positionIds: Bool
  /// Where sinks stand: original or cache.
  let sinkPositions: String
  /// Whether rows of global tokens have projections of their own.
  let globalProjections: Bool
  let seconds: Double
  /// Mean over ranks.
  let computeSeconds: Double
  /// What transfers add to the slowest rank's computing.
  let exposedSeconds: Double
  let imbalanceSeconds: Double
  let bytesSentPerRank: Double
  let residentBytes: Double
  let flops: Double
  let flopsPerSecond: Double
  let efficiency: Double
  /// What most of the lost time goes to.
  let limit: String
}

extension PredictFields: PatternedFields {
  static let benchmark = "predict"

  static let keys =
    [
      "pass", "transport", "ranks", "hosts", "threads", "tokens", "queryHeads", "kvHeads",
      "headDim",
    ] + PatternChoice.fields + [
      "layout", "wire", "arithmetic", "softcap", "alibi", "bias", "learnedSinks", "rope", "xpos",
      "positionIds", "sinkPositions", "globalProjections", "valueHeadDim",
    ]

  static let figures = [
    "seconds", "computeSeconds", "exposedSeconds", "imbalanceSeconds", "bytesSentPerRank",
    "residentBytes", "flops", "flopsPerSecond", "efficiency", "limit",
  ]

  static let keyColumns = 5
  static let dispensableColumns = [
    "imbalance", "memory a rank", "sent a rank", "FLOP/s", "exposed", "computing",
  ]

  static func table(of results: [PredictResult]) -> [[String]] {
    let header = [
      "pass", "by", "ranks", "hosts", "tokens", "time", "computing", "exposed", "imbalance",
      "sent a rank", "memory a rank", "FLOP/s", "efficiency", "lost to",
    ]
    return [header]
      + results.map { row in
        [
          row.pass, row.transport, grouped(row.ranks), grouped(row.hosts), grouped(row.tokens),
          longTime(row.seconds), longTime(row.computeSeconds),
          longTime(row.exposedSeconds), longTime(row.imbalanceSeconds),
          formatBytes(row.bytesSentPerRank), formatBytes(row.residentBytes),
          withPrefix(row.flopsPerSecond), percent(row.efficiency), row.limit,
        ]
      }
  }
}

/// A duration for a column, which may be hours.
func longTime(_ value: Double) -> String {
  value < 90 ? formatTime(value) : formatSeconds(value)
}

/// A speed with the prefix that suits it, for a unit to follow: `1.25 G`.
func withPrefix(_ value: Double) -> String {
  for (factor, prefix) in [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")]
  where value >= factor {
    return "\(threeDigits(value / factor)) \(prefix)"
  }
  return "\(threeDigits(value / 1e3)) k"
}
