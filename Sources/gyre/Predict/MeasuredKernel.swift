import Attention
import Reporting
import Results
import ScalingModel

/// What gyre bench kernel has found out about the speed of a thread.
struct MeasuredKernel {
  let curve: KernelCurve
  /// The head dims that were measured.
  let dims: HeadDims

  /// Of one thread, of products of one kind, the same score rules and the nearest head dims; nil if
  /// there are none.
  init?(
    nearest dims: HeadDims, _ arithmetic: Arithmetic, _ rules: ScoreRuleKinds, _ rows: [ResultRow]
  ) {
    let kernels = rows.filter {
      $0.benchmark == "kernel" && $0.fields["dtype"]?.string == arithmetic.rawValue
        && Arithmetic($0) == arithmetic && ScoreRuleKinds($0) == rules
        && $0.fields["rope"]?.string == nil
        && $0.fields["threads"]?.int == 1
        && $0.fields["reproducible"]?.bool == false && $0["queries"] == $0["tokens"]
        && $0.copiesAtOnce == 1
    }
    let measured = kernels.compactMap { HeadDims($0) }
    guard let nearest = measured.min(by: { dims.distance(to: $0) < dims.distance(to: $1) }) else {
      return nil
    }
    var curve = KernelCurve()
    for pass in [AttentionPass.forward, .backward] {
      for isMasked in [false, true] {
        let points = kernels.filter {
          HeadDims($0) == nearest && $0.fields["pass"]?.string == pass.name
            && PatternChoice($0) == (isMasked ? .causal : .full)
        }.compactMap { row in
          row.positive("tokens").flatMap { tokens in
            row.positive("flopsPerSecond").map {
              KernelCurve.Point(tokens: tokens, flopsPerSecond: $0)
            }
          }
        }
        if !points.isEmpty { curve.setCurve(points, pass, isMasked: isMasked) }
      }
    }
    guard curve.covers(.forward) || curve.covers(.backward) else { return nil }
    self.curve = curve
    self.dims = nearest
  }
}

/// Which score rules a kernel has; what numbers they have makes no difference to its speed.
struct ScoreRuleKinds: Equatable {
  var isCapped = false
  var hasLinearBiases = false
  /// A tensor, or terms of labels; what is not measured.
  var others: [String] = []

  /// Scores that stay as they are.
  static let none = ScoreRuleKinds()

  /// Those of options.
  init(_ options: ScoreRuleOptions) {
    (isCapped, hasLinearBiases) = (options.softcap != nil, options.alibi)
    others = options.bias ? ["--bias"] : []
  }

  /// Those of a row of gyre bench kernel.
  init(_ row: ResultRow) {
    isCapped = row.fields["softcap"]?.double != nil
    hasLinearBiases = row.fields["alibi"]?.bool == true
  }

  private init() {}

  /// Their options.
  var options: String {
    ((isCapped ? ["--softcap"] : []) + (hasLinearBiases ? ["--alibi"] : []) + others)
      .joined(separator: " ")
  }
}

/// How fast rows turn.
struct MeasuredTurning {
  /// Columns that a thread turns in a second.
  let columnsPerSecond: Double
  /// Said where nobody has measured it.
  let guess: String?

  /// What a Zen 4 core turned, in round numbers, where no row tells.
  private static let usual = 1e9

  init(_ rows: [ResultRow]) {
    let rates = rows.filter { $0.benchmark == "kernel" }.compactMap { row in
      row.positive("turnedColumnsPerSecond").map {
        $0 / Double(row.fields["threads"]?.int ?? 1)
      }
    }.sorted()
    columnsPerSecond = rates.isEmpty ? Self.usual : rates[rates.count / 2]
    guess =
      rates.isEmpty
      ? "a thread turns \(withPrefix(Self.usual))columns a second, as nobody has measured gyre "
        + "bench kernel --rope" : nil
  }
}

extension Arithmetic {
  /// That of a row of a results file, which does not say `f32`; nil where it is unknown.
  init?(_ row: ResultRow) {
    self.init(rawValue: row.fields["arithmetic"]?.string ?? Arithmetic.f32.rawValue)
  }

  /// What rows of results say: nothing of `f32`.
  var field: Nullable<String> { Nullable(value: self == .f32 ? nil : rawValue) }
}

extension AttentionPass {
  /// Its name in results files.
  var name: String { self == .forward ? "forward" : "backward" }
}
