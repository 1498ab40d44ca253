import Foundation
import Models
import Tensors

/// The oracle: a decoder as the papers write it down, token by token and in `Double`, of weights
/// that are widened by the portable decoders of files.
struct PlainDecoder {
  private let model: TinyModel
  private let file: ModelFile
  /// A window and sinks beside it, as a cache of nothing else has them; nil for none.
  var stream: (window: Int, sinks: Int)?
  /// Context windows of so many tokens before a task; structured ones end together.
  var windows: (lengths: [Int], isStructured: Bool)?

  init(_ model: TinyModel, path: String) throws {
    self.model = model
    file = try ModelFile(path)
  }

  private typealias Rows = [[Double]]

  private func matrix(_ name: String, rows: Range<Int>? = nil) throws -> Rows {
    let tensor = try file.tensor(name)
    let rows = rows ?? 0..<tensor.rows
    var numbers = [Float](repeating: 0, count: rows.count * tensor.columns)
    var span = numbers.mutableSpan
    tensor.decode(rows: rows, into: &span)
    return (0..<rows.count).map { row in
      (0..<tensor.columns).map { Double(numbers[row * tensor.columns + $0]) }
    }
  }

  private func vector(_ name: String) throws -> [Double] { try matrix(name)[0] }

  private func times(_ weights: Rows, _ x: [Double]) -> [Double] {
    weights.map { row in zip(row, x).reduce(0) { $0 + $1.0 * $1.1 } }
  }

  private func plus(_ a: [Double], _ b: [Double]) -> [Double] { zip(a, b).map { $0 + $1 } }

  private func normalised(_ x: [Double], _ name: String) throws -> [Double] {
    let weights = try vector(name + ".weight")
    let count = Double(x.count)
    if model.isGPT2 {
      let mean = x.reduce(0, +) / count
      let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count
      let bias = try vector(name + ".bias")
      return x.indices.map {
        (x[$0] - mean) / (variance + Double(TinyModel.epsilon)).squareRoot() * weights[$0]
          + bias[$0]
      }
    }
    return rootMeanSquare(x, weights)
  }

  private func rootMeanSquare(_ x: [Double], _ weights: [Double]) -> [Double] {
    let mean = x.reduce(0) { $0 + $1 * $1 } / Double(x.count)
    return x.indices.map {
      x[$0] / (mean + Double(TinyModel.epsilon)).squareRoot() * weights[$0]
    }
  }

  /// Heads, normalised if that is done.
  private func heads(_ x: [Double], norm: String) throws -> Rows {
    let dim = model.headDim
    let weights = file.has(norm) ? try vector(norm) : nil
    return (0..<x.count / dim).map { head in
      var row = Array(x[head * dim..<(head + 1) * dim])
      if let weights { row = rootMeanSquare(row, weights) }
      return row
    }
  }

  /// A head at a position.
  private func turned(_ row: [Double], position: Int, base: Double) -> [Double] {
    if model.isGPT2 { return row }
    let dim = model.headDim
    var turned = row
    for pair in 0..<dim / 2 {
      let angle = Double(position) * frequency(pair, base: base)
      let (a, b) =
        model.architecture == "llama" ? (2 * pair, 2 * pair + 1) : (pair, pair + dim / 2)
      turned[a] = row[a] * cos(angle) - row[b] * sin(angle)
      turned[b] = row[b] * cos(angle) + row[a] * sin(angle)
    }
    return turned
  }

  /// Radians a token of a pair of columns; gpt-oss has YaRN's, which turn 32 times in the length
  /// before, or once, where they go over.
  private func frequency(_ pair: Int, base: Double) -> Double {
    let plain = pow(base, -2 * Double(pair) / Double(model.headDim))
    if !model.isGPTOSS { return plain }
    func place(_ turns: Double) -> Double {
      Double(model.headDim) / 2 * log(Double(TinyModel.yarn.length) / (turns * 2 * .pi))
        / log(base)
    }
    let (low, high) = (max(place(32), 0), min(place(1), Double(model.headDim - 1)))
    let share = min(max((Double(pair) - low) / (high - low), 0), 1)
    return plain * (1 - share) + plain / Double(TinyModel.yarn.factor) * share
  }

  /// What scores are multiplied by besides, since queries and keys are longer with YaRN.
  private var stretch: Double {
    let length = model.isGPTOSS ? 0.1 * log(Double(TinyModel.yarn.factor)) + 1 : 1
    return length * length
  }

  /// Where a token stands that comes after windows or is in one, and which.
  private func place(
    of position: Int, _ windows: (lengths: [Int], isStructured: Bool)
  ) -> (window: Int?, place: Int) {
    let longest = windows.lengths.max() ?? 0
    var start = 0
    for (number, length) in windows.lengths.enumerated() {
      if position < start + length {
        return (number, position - start + (windows.isStructured ? longest - length : 0))
      }
      start += length
    }
    return (nil, longest + position - start)
  }

  /// The keys that the token at a position sees, and where they stand: in the sequence, in a cache
  /// that holds nothing else, or in windows.
  private func seen(from position: Int, isLocal: Bool) -> (keys: [Int], places: [Int]) {
    if let windows {
      let own = place(of: position, windows).window
      let keys = (0...position).filter { own == nil || place(of: $0, windows).window == own }
      return (keys, keys.map { place(of: $0, windows).place })
    }
    let own = isLocal ? max(0, position - model.window + 1) : 0
    guard let stream, !isLocal || model.window > stream.window else {
      return (Array(own...position), Array(own...position))
    }
    let first = max(0, position - stream.window + 1)
    let keys = Array(0..<min(stream.sinks, first)) + Array(first...position)
    return (keys, Array(keys.indices))
  }

  private func gelu(_ x: Double) -> Double {
    0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
  }

  /// The logits after each token.
  func logits(_ tokens: [Int]) throws -> [[Double]] {
    let embedding = try matrix("token_embd.weight")
    let scale = model.isGemma ? Double(model.width).squareRoot() : 1
    var rows = tokens.map { embedding[$0].map { $0 * scale } }
    if model.isGPT2 {
      let positions = try matrix("position_embd.weight")
      rows = rows.enumerated().map { plus($1, positions[$0]) }
    }
    for layer in 0..<model.layers { rows = try self.layer(layer, rows) }
    let output = file.has("output.weight") ? try matrix("output.weight") : embedding
    return try rows.map { times(output, try normalised($0, "output_norm")) }
  }

  private func layer(_ number: Int, _ rows: Rows) throws -> Rows {
    let p = "blk.\(number)."
    let (q, k) = (model.heads * model.headDim, model.kvHeads * model.headDim)
    let isLocal = model.isGemma ? (number + 1) % 6 != 0 : model.isGPTOSS && number % 2 == 0
    let base = isLocal && model.isGemma ? 10_000 : Double(model.base)
    let weights =
      model.isGPT2
      ? try matrix(p + "attn_qkv.weight")
      : try matrix(p + "attn_q.weight") + matrix(p + "attn_k.weight")
        + matrix(p + "attn_v.weight")
    let bias = try projectionBias(p, count: weights.count)
    var (queries, keys, values): ([Rows], [Rows], [Rows]) = ([], [], [])
    for row in rows {
      let all = plus(times(weights, try normalised(row, p + "attn_norm")), bias)
      queries.append(
        try heads(Array(all[..<q]), norm: p + "attn_q_norm.weight"))
      keys.append(
        try heads(Array(all[q..<q + k]), norm: p + "attn_k_norm.weight"))
      values.append(
        (0..<model.kvHeads).map {
          Array(all[q + k + $0 * model.headDim..<q + k + ($0 + 1) * model.headDim])
        })
    }
    let output = try matrix(p + "attn_output.weight")
    let sinks = model.isGPTOSS ? try vector(p + "attn_sinks.weight") : []
    return try rows.enumerated().map { position, row in
      let (seen, places) = seen(from: position, isLocal: isLocal)
      let turnedKeys = zip(seen, places).map { key, place in
        keys[key].map { turned($0, position: place, base: base) }
      }
      var found: [Double] = []
      for head in 0..<model.heads {
        let kv = head / (model.heads / model.kvHeads)
        let query = turned(
          queries[position][head], position: places[places.count - 1], base: base)
        let scores = zip(seen, turnedKeys).map { position, key in
          zip(query, key[kv]).reduce(0) { $0 + $1.0 * $1.1 } * stretch
            / Double(model.headDim).squareRoot() + ownWeight(position)
        }
        let sink = sinks.isEmpty ? -.infinity : sinks[head]
        let most = scores.reduce(sink, max)
        let weights = scores.map { exp($0 - most) }
        let sum = weights.reduce(exp(sink - most), +)
        found += (0..<model.headDim).map { column in
          zip(weights, seen).reduce(0) { $0 + $1.0 * values[$1.1][kv][column] } / sum
        }
      }
      var change = times(output, found)
      if file.has(p + "attn_output.bias") {
        change = plus(change, try vector(p + "attn_output.bias"))
      }
      if model.isGemma {
        change = rootMeanSquare(change, try vector(p + "post_attention_norm.weight"))
      }
      return try feedForward(plus(row, change), p)
    }
  }

  /// Of queries, keys and values, one after the other.
  private func projectionBias(_ p: String, count: Int) throws -> [Double] {
    if model.isGPT2 { return try vector(p + "attn_qkv.bias") }
    guard file.has(p + "attn_q.bias") else { return Array(repeating: 0, count: count) }
    return try vector(p + "attn_q.bias") + vector(p + "attn_k.bias") + vector(p + "attn_v.bias")
  }

  /// What is added to scores of a task's own keys: the logarithm of the number of windows.
  private func ownWeight(_ key: Int) -> Double {
    guard let windows, windows.isStructured, place(of: key, windows).window == nil else {
      return 0
    }
    return log(Double(windows.lengths.count))
  }

  private func feedForward(_ row: [Double], _ p: String) throws -> [Double] {
    if model.hasExperts { return plus(row, try experts(row, p)) }
    let x = try normalised(row, p + "ffn_norm")
    var up = times(try matrix(p + "ffn_up.weight"), x)
    if model.isGPT2 {
      up = plus(up, try vector(p + "ffn_up.bias")).map(gelu)
    } else {
      let gate = times(try matrix(p + "ffn_gate.weight"), x)
      up = zip(gate, up).map { (model.isGemma ? gelu($0) : $0 / (1 + exp(-$0))) * $1 }
    }
    var change = times(try matrix(p + "ffn_down.weight"), up)
    if model.isGPT2 { change = plus(change, try vector(p + "ffn_down.bias")) }
    if model.isGemma {
      change = rootMeanSquare(change, try vector(p + "post_ffw_norm.weight"))
    }
    return plus(row, change)
  }

  /// What the experts of a token add.
  private func experts(_ row: [Double], _ p: String) throws -> [Double] {
    let x = try normalised(row, p + (model.isGPTOSS ? "post_attention_norm" : "ffn_norm"))
    var logits = times(try matrix(p + "ffn_gate_inp.weight"), x)
    if model.isGPTOSS { logits = plus(logits, try vector(p + "ffn_gate_inp.bias")) }
    let chosen = Array(
      logits.indices.sorted { logits[$0] > logits[$1] }[..<TinyModel.experts.chosen])
    let sum = chosen.reduce(0) { $0 + exp(logits[$1]) }
    /// The product with an expert's weights.
    func product(_ part: String, _ expert: Int, _ x: [Double], rows: Int) throws -> [Double] {
      let name = p + "ffn_\(part)_exps"
      let y = times(
        try matrix(name + ".weight", rows: expert * rows..<(expert + 1) * rows), x)
      return model.isGPTOSS ? plus(y, try matrix(name + ".bias")[expert]) : y
    }
    return try chosen.reduce(Array(repeating: 0, count: row.count)) { total, expert in
      let gate = try product("gate", expert, x, rows: model.hidden)
      let up = try product("up", expert, x, rows: model.hidden)
      let hidden = zip(gate, up).map { gate, up in
        if !model.isGPTOSS { return gate / (1 + exp(-gate)) * up }
        let (gate, up) = (min(gate, 7), min(max(up, -7), 7))
        return gate / (1 + exp(-1.702 * gate)) * (up + 1)
      }
      let change = try product("down", expert, hidden, rows: model.width)
      return plus(total, change.map { $0 * exp(logits[expert]) / sum })
    }
  }
}
