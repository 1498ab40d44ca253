import Foundation
import Models
import Tensors

/// The oracle of Mamba: token by token and in `Double`, with the state written down as the paper
/// has it.
struct PlainMamba {
  private let model: TinyModel
  private let file: ModelFile

  init(_ model: TinyModel, path: String) throws {
    self.model = model
    file = try ModelFile(path)
  }

  private func matrix(_ name: String) throws -> [[Double]] {
    let tensor = try file.tensor(name)
    let numbers = tensor.decoded()
    return (0..<tensor.rows).map { row in
      (0..<tensor.columns).map { Double(numbers[row * tensor.columns + $0]) }
    }
  }

  private func vector(_ name: String) throws -> [Double] { try matrix(name)[0] }

  private func times(_ weights: [[Double]], _ x: [Double]) -> [Double] {
    weights.map { row in zip(row, x).reduce(0) { $0 + $1.0 * $1.1 } }
  }

  private func normalised(_ x: [Double], _ weights: [Double]) -> [Double] {
    let mean = x.reduce(0) { $0 + $1 * $1 } / Double(x.count)
    return zip(x, weights).map { $0 / (mean + Double(TinyModel.epsilon)).squareRoot() * $1 }
  }

  private func silu(_ x: Double) -> Double { x / (1 + exp(-x)) }

  /// The logits after each token.
  func logits(_ tokens: [Int]) throws -> [[Double]] {
    let embedding = try matrix("token_embd.weight")
    var rows = tokens.map { embedding[$0] }
    for layer in 0..<model.layers { try add(layer: "blk.\(layer).", to: &rows) }
    let norm = try vector("output_norm.weight")
    let output = model.isTied ? embedding : try matrix("output.weight")
    return rows.map { times(output, normalised($0, norm)) }
  }

  private func add(layer p: String, to rows: inout [[Double]]) throws {
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
      let both = times(input, normalised(rows[token], norm))
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
