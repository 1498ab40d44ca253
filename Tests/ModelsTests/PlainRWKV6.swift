import Foundation
import Models
import Tensors

/// The oracle of RWKV's sixth version, as the paper has it.
struct PlainRWKV6: PlainStateModel {
  let model: TinyModel
  let file: ModelFile

  private func norm(_ name: String, _ x: [Double]) throws -> [Double] {
    let (weights, bias) = (try vector(name + ".weight"), try vector(name + ".bias"))
    let y = centred(x, epsilon: Double(TinyModel.epsilon))
    return y.indices.map { y[$0] * weights[$0] + bias[$0] }
  }

  func entered(_ row: [Double]) throws -> [Double] { try norm("blk.0.token_embd_norm", row) }

  func left(_ row: [Double]) throws -> [Double] { try norm("output_norm", row) }

  func add(layer p: String, to rows: inout [[Double]]) throws {
    try mixTime(p, &rows)
    try mixChannels(p, &rows)
    let number = Int(p.dropFirst(4).dropLast()) ?? 0
    if (number + 1) % TinyModel.rwkv6.halving == 0 {
      rows = rows.map { $0.map { $0 / 2 } }
    }
  }

  private func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

  private func mixTime(_ p: String, _ rows: inout [[Double]]) throws {
    func weights(_ name: String) throws -> [[Double]] { try matrix("\(p)time_mix_\(name).weight") }
    func numbers(_ name: String) throws -> [Double] { try vector("\(p)time_mix_\(name).weight") }
    let (width, headDim, few) = (model.width, TinyModel.rwkv6.headDim, TinyModel.rwkv6.few)
    let (first, second) = (try weights("w1"), try weights("w2"))
    let (share, shares) = (try numbers("lerp_x"), try numbers("lerp_fused"))
    let (decay1, decay2) = (try weights("decay_w1"), try weights("decay_w2"))
    let (decay, bonus) = (try numbers("decay"), try numbers("first"))
    let (wk, wv, wr, wg, wo) = (
      try weights("key"), try weights("value"), try weights("receptance"), try weights("gate"),
      try weights("output")
    )
    let (ln, lnBias) = (try numbers("ln"), try vector(p + "time_mix_ln.bias"))
    // `s[i][j]` of a head: keys, then values.
    var s = Array(repeating: Array(repeating: 0.0, count: headDim), count: width)
    var before = Array(repeating: 0.0, count: width)
    for token in rows.indices {
      let x = try norm(p + "attn_norm", rows[token])
      let change = zip(before, x).map { $0 - $1 }
      let mixture = times(first, x.indices.map { x[$0] + change[$0] * share[$0] }).map { tanh($0) }
      let mixed = (0..<5).map { part in
        let own = times(
          second[part * width..<(part + 1) * width], mixture[part * few..<(part + 1) * few])
        return x.indices.map { x[$0] + change[$0] * (shares[part * width + $0] + own[$0]) }
      }
      let (k, v, r) = (times(wk, mixed[1]), times(wv, mixed[2]), times(wr, mixed[3]))
      let gate = times(wg, mixed[4])
      let slow = times(decay2, times(decay1, mixed[0]).map { tanh($0) })
      var y: [Double] = []
      for head in stride(from: 0, to: width, by: headDim) {
        var o = Array(repeating: 0.0, count: headDim)
        for i in head..<head + headDim {
          for j in 0..<headDim {
            let product = k[i] * v[head + j]
            o[j] += r[i] * (s[i][j] + bonus[i] * product)
            s[i][j] = exp(-exp(decay[i] + slow[i])) * s[i][j] + product
          }
        }
        y += centred(o, epsilon: 64e-5)
      }
      let gated = y.indices.map { (y[$0] * ln[$0] + lnBias[$0]) * silu(gate[$0]) }
      rows[token] = zip(rows[token], times(wo, gated)).map { $0 + $1 }
      before = x
    }
  }

  private func mixChannels(_ p: String, _ rows: inout [[Double]]) throws {
    let (key, value, receptance) = (
      try matrix(p + "channel_mix_key.weight"), try matrix(p + "channel_mix_value.weight"),
      try matrix(p + "channel_mix_receptance.weight")
    )
    let (ofKey, ofReceptance) = (
      try vector(p + "channel_mix_lerp_k.weight"), try vector(p + "channel_mix_lerp_r.weight")
    )
    var before = Array(repeating: 0.0, count: model.width)
    for token in rows.indices {
      let x = try norm(p + "attn_norm_2", rows[token])
      func mixed(_ shares: [Double]) -> [Double] {
        x.indices.map { x[$0] + (before[$0] - x[$0]) * shares[$0] }
      }
      let k = times(key, mixed(ofKey)).map { max(0, $0) * max(0, $0) }
      let r = times(receptance, mixed(ofReceptance)).map(sigmoid)
      let added = times(value, k)
      rows[token] = rows[token].indices.map { rows[token][$0] + r[$0] * added[$0] }
      before = x
    }
  }
}
