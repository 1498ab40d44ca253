import Attention
import ScalingModel

/// What gyre bench kernel has found out about the speed of a thread.
struct MeasuredKernel {
  let curve: KernelCurve
  /// The head dim that was measured.
  let headDim: Int

  /// Of one thread and the nearest head dim; nil if there are none.
  init?(headDim: Int, _ rows: [ResultRow]) {
    let kernels = rows.filter {
      $0.benchmark == "kernel" && $0.fields["dtype"]?.string == "f32"
        && $0.fields["threads"]?.int == 1
        && $0.fields["reproducible"]?.bool == false && $0["queries"] == $0["tokens"]
    }
    let dims = kernels.compactMap { $0.fields["headDim"]?.int }
    guard let nearest = dims.min(by: { abs($0 - headDim) < abs($1 - headDim) }) else { return nil }
    var curve = KernelCurve()
    for pass in [AttentionPass.forward, .backward] {
      for isMasked in [false, true] {
        let points = kernels.filter {
          $0.fields["headDim"]?.int == nearest && $0.fields["pass"]?.string == pass.name
            && $0.fields["causal"]?.bool == isMasked
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
    self.headDim = nearest
  }
}

extension AttentionPass {
  /// Its name in results files.
  var name: String { self == .forward ? "forward" : "backward" }
}
