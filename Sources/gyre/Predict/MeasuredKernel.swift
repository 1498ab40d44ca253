import Attention
import Reporting
import Results
import ScalingModel

/// What gyre bench kernel has found out about the speed of a thread.
struct MeasuredKernel {
  let curve: KernelCurve
  /// The head dims that were measured.
  let dims: HeadDims

  /// Of one thread, of products of one kind and the nearest head dims; nil if there are none.
  init?(nearest dims: HeadDims, _ arithmetic: Arithmetic, _ rows: [ResultRow]) {
    let kernels = rows.filter {
      $0.benchmark == "kernel" && $0.fields["dtype"]?.string == arithmetic.rawValue
        && Arithmetic($0) == arithmetic && $0.fields["softcap"]?.double == nil
        && $0.fields["alibi"]?.bool != true
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
