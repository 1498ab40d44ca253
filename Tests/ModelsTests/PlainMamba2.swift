import Foundation
import Models
import Tensors

/// The oracle of Mamba's second version, with the state of each head written down as the paper has
/// it.
struct PlainMamba2: PlainStateModel {
  let model: TinyModel
  let file: ModelFile

  func add(layer p: String, to rows: inout [[Double]]) throws {
    let (states, heads, groups, taps) = TinyModel.mamba2
    let inner = model.hidden
    let (columns, part) = (inner / heads, inner / groups)
    let (norm, input, output) = (
      try vector(p + "attn_norm.weight"), try matrix(p + "ssm_in.weight"),
      try matrix(p + "ssm_out.weight")
    )
    let (filter, bias) = (try matrix(p + "ssm_conv1d.weight"), try vector(p + "ssm_conv1d.bias"))
    let (stepBias, rates, skip) = (
      try vector(p + "ssm_dt.bias"), try vector(p + "ssm_a"), try vector(p + "ssm_d")
    )
    let last = try vector(p + "ssm_norm.weight")
    let convolved = bias.count
    var past = Array(repeating: Array(repeating: 0.0, count: convolved), count: taps)
    // Of each head and column, so many states.
    var h = Array(repeating: Array(repeating: 0.0, count: states), count: inner)
    for token in rows.indices {
      let all = times(input, rootMeanSquare(rows[token], norm))
      past = past.dropFirst() + [Array(all[inner..<inner + convolved])]
      let u = (0..<convolved).map { channel in
        silu((0..<taps).reduce(bias[channel]) { $0 + filter[channel][$1] * past[$1][channel] })
      }
      var y: [Double] = []
      for channel in 0..<inner {
        let head = channel / columns
        let step = log(1 + exp(all[inner + convolved + head] + stepBias[head]))
        let b = inner + head / (heads / groups) * states
        var sum = skip[head] * u[channel]
        for n in 0..<states {
          h[channel][n] = exp(step * rates[head]) * h[channel][n] + step * u[b + n] * u[channel]
          sum += u[b + groups * states + n] * h[channel][n]
        }
        y.append(sum * silu(all[channel]))
      }
      let parts = (0..<groups).flatMap { group in
        let places = group * part..<(group + 1) * part
        return rootMeanSquare(Array(y[places]), Array(last[places]))
      }
      rows[token] = zip(rows[token], times(output, parts)).map { $0 + $1 }
    }
  }
}
