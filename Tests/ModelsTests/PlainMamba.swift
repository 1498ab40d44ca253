import Foundation
import Models
import Tensors

/// The oracle of Mamba: token by token and in `Double`, with the state written down as the paper
/// has it.
struct PlainMamba: PlainStateModel {
  let model: TinyModel
  let file: ModelFile

  func add(layer p: String, to rows: inout [[Double]]) throws {
    let (states, rank, taps) = TinyModel.mamba
    let (norm, input, output) = (
      try vector(p + "attn_norm.weight"), try matrix(p + "ssm_in.weight"),
      try matrix(p + "ssm_out.weight")
    )
    let (filter, bias) = (try matrix(p + "ssm_conv1d.weight"), try vector(p + "ssm_conv1d.bias"))
    let (mixed, steps) = (try matrix(p + "ssm_x.weight"), try matrix(p + "ssm_dt.weight"))
    let (stepBias, rates, skip) = (
      try vector(p + "ssm_dt.bias"), try matrix(p + "ssm_a"), try vector(p + "ssm_d")
    )
    let inner = model.hidden
    var past: [[Double]] = Array(repeating: Array(repeating: 0, count: inner), count: taps)
    var h = Array(repeating: Array(repeating: 0.0, count: states), count: inner)
    for token in rows.indices {
      let both = times(input, rootMeanSquare(rows[token], norm))
      past = past.dropFirst() + [Array(both[..<inner])]
      let u = (0..<inner).map { channel in
        silu((0..<taps).reduce(bias[channel]) { $0 + filter[channel][$1] * past[$1][channel] })
      }
      let all = times(mixed, u)
      let raw = times(steps, Array(all[..<rank]))
      var y: [Double] = []
      for channel in 0..<inner {
        let step = log(1 + exp(raw[channel] + stepBias[channel]))
        var sum = skip[channel] * u[channel]
        for n in 0..<states {
          h[channel][n] =
            exp(step * rates[channel][n]) * h[channel][n] + step * all[rank + n] * u[channel]
          sum += all[rank + states + n] * h[channel][n]
        }
        y.append(sum * silu(both[inner + channel]))
      }
      rows[token] = zip(rows[token], times(output, y)).map { $0 + $1 }
    }
  }
}
