import AttentionReference
import Compute
import MPI
import Tensors

/// The rows of an operator with a decaying state, and what becomes of their gradients.
///
/// The exponents of decays have the gradient `Σ_{t ≥ s} (q_t ∘ dq_t − k_t ∘ dk_t)`, since a token
/// meets another with the difference of two sums of exponents: a sum from the end of the sequence,
/// which passes from rank to rank with the gradient of the state.
struct GatedRows: OuterProductOperator {
  private let q: MixerTensor
  private let k: MixerTensor
  private let v: MixerTensor
  private let g: MixerTensor
  private let u: MixerTensor?
  private let o: MixerTensor
  private let gates: ReferenceGatedHead.Gates
  private let scale: Float
  private let heads: Int
  private let batch: Int
  private let count: Int
  private let gradients: MixerTensors
  private let query: String
  private let gate: String
  /// `[batch, heads, keys]`: of decays that all tokens have, and of bonuses.
  private let ofGates: DoubleSums
  private let ofBonus: DoubleSums

  let keys: Int
  let values: Int
  let hasDecay = true
  let readsFirst: Bool
  var gradientCarry: Int { keys }

  init<Operator: GatedMixer>(
    _ mixer: Operator, _ x: MixerTensors, o: MixerTensor, tokens: Int,
    gradients: MixerTensors = MixerTensors()
  ) {
    (query, gate) = (Operator.query, Operator.gate)
    (q, k, v, g, u, self.o) = (x[query], x["k"], x["v"], x[gate], x.find("u"), o)
    (gates, readsFirst, scale) = (Operator.gates, Operator.hasBonus, mixer.scale)
    (heads, batch, count) = (mixer.sizes["heads"], mixer.batch, tokens)
    (keys, values) = (mixer.sizes["headDim"], mixer.sizes["valueHeadDim"])
    self.gradients = gradients
    ofGates = DoubleSums(count: batch * heads * keys)
    ofBonus = DoubleSums(count: batch * heads * keys)
  }

  private func rows(_ tensor: MixerTensor, _ unit: Int) -> StridedMatrix {
    unsafe headRows(tensor, unit, heads: heads, tokens: count)
  }

  private func copy(
    _ tensor: MixerTensor, _ unit: Int, _ tokens: Range<Int>,
    to target: UnsafeMutablePointer<Float>, step: Int, columns: Int
  ) {
    let rows = rows(tensor, unit)
    unsafe copyRows(
      rows.base + tokens.lowerBound * rows.row, step: rows.row, to: target, step: step,
      rows: tokens.count, columns: columns)
  }

  func fillKeys(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    unsafe copy(k, unit, tokens, to: chunk.k, step: chunk.keyStep, columns: keys)
    unsafe copy(v, unit, tokens, to: chunk.v, step: chunk.valueStep, columns: values)
  }

  func fillQueries(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    let rows = rows(q, unit)
    let factor = Vector(repeating: scale)
    // Column by column: see ``copyRows``.
    forEachVector(keys) { column in
      for (index, token) in tokens.enumerated() {
        let (from, to) = unsafe (rows.base + token * rows.row, chunk.q + index * chunk.keyStep)
        let x = unsafe Vector(loading: from, at: column, of: keys) * factor
        unsafe x.store(to: to, at: column, of: keys)
      }
    }
  }

  func fillDecays(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    let head = unit % heads
    forEachVector(keys) { column in
      for (index, token) in tokens.enumerated() {
        let target = unsafe chunk.a + index * chunk.keyStep
        let place = gatePlace(g, unit, token)
        let exponent =
          switch gates {
          case .keys: unsafe Vector(loading: g.base + place, at: column, of: keys)
          case .tokens: unsafe Vector(repeating: g.base[place])
          case .all: unsafe Vector(loading: g.base + head * keys, at: column, of: keys)
          }
        unsafe exp(exponent).store(to: target, at: column, of: keys)
      }
    }
  }

  func store(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    let target = rows(o, unit)
    if let u {
      let bonus = unsafe u.base + unit % heads * keys
      for index in 0..<tokens.count {
        let weight = unsafe self.bonus(chunk, index, bonus)
        for column in 0..<values {
          unsafe chunk.o[index * chunk.valueStep + column] +=
            weight * chunk.v[index * chunk.valueStep + column]
        }
      }
    }
    unsafe copyRows(
      chunk.o, step: chunk.valueStep, to: target.base + tokens.lowerBound * target.row,
      step: target.row, rows: tokens.count, columns: values)
  }

  /// `Σ q u k` of a token.
  @unsafe
  private func bonus(
    _ chunk: OuterProductChunk, _ index: Int, _ u: UnsafeMutablePointer<Float>
  ) -> Float {
    let row = index * chunk.keyStep
    var sum = Vector.zero
    forEachVector(keys) { column in
      let (q, k) = unsafe (
        Vector(loading: chunk.q + row, at: column, of: keys),
        Vector(loading: chunk.k + row, at: column, of: keys)
      )
      unsafe sum.addProduct(q * k, Vector(loading: u, at: column, of: keys))
    }
    return sum.laneSum
  }

  func fillGradient(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    unsafe copy(o, unit, tokens, to: chunk.o, step: chunk.valueStep, columns: values)
  }

  func storeQueries(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    let target = rows(gradients["d\(query)"], unit)
    let factor = Vector(repeating: scale)
    forEachVector(keys) { column in
      for (index, token) in tokens.enumerated() {
        let (from, to) = unsafe (
          chunk.dk + index * chunk.keyStep, target.base + token * target.row
        )
        let x = unsafe Vector(loading: from, at: column, of: keys) * factor
        unsafe x.store(to: to, at: column, of: keys)
      }
    }
  }

  func storeKeys(
    _ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>,
    carry: UnsafeMutablePointer<Float>
  ) {
    let (dq, dk) = (rows(gradients["d\(query)"], unit), rows(gradients["dk"], unit))
    let ofGate = gradients["d\(gate)"]
    let weights = u == nil ? [] : (0..<tokens.count).map { unsafe ofSelf(chunk, $0) }
    forEachVector(keys) { column in
      let bonus = u.map {
        unsafe Vector(loading: $0.base + unit % heads * keys, at: column, of: keys)
      }
      var sum = unsafe Vector(loading: carry, at: column, of: keys)
      for (index, token) in tokens.enumerated().reversed() {
        let row = index * chunk.keyStep
        let (own, target) = unsafe (dq.base + token * dq.row, dk.base + token * dk.row)
        let place = gatePlace(ofGate, unit, token)
        let q = unsafe Vector(loading: chunk.q + row, at: column, of: keys)
        let k = unsafe Vector(loading: chunk.k + row, at: column, of: keys)
        var ofKey = unsafe Vector(loading: chunk.dk + row, at: column, of: keys)
        var ofQuery = unsafe Vector(loading: own, at: column, of: keys)
        // q is scaled already, and so is its gradient.
        let read = q * ofQuery * Vector(repeating: 1 / scale)
        sum -= k * ofKey
        if !readsFirst { sum += read }
        unsafe storeGate(sum, ofGate, place, unit, column)
        if readsFirst { sum += read }
        if let bonus {
          let factor = Vector(repeating: weights[index])
          let product = q * k * factor
          for lane in 0..<min(8, keys - column) {
            ofBonus.add(product[lane], at: unit * keys + column + lane)
          }
          ofQuery.addProduct(bonus * k, factor)
          ofKey.addProduct(bonus * q, factor)
          unsafe ofQuery.store(to: own, at: column, of: keys)
        }
        unsafe ofKey.store(to: target, at: column, of: keys)
      }
      unsafe sum.store(to: carry, at: column, of: keys)
    }
    storeValues(chunk, unit, tokens)
  }

  /// Gradients of values, which a bonus adds to.
  private func storeValues(_ chunk: OuterProductChunk, _ unit: Int, _ tokens: Range<Int>) {
    let dv = rows(gradients["dv"], unit)
    let weights = u.map { u in
      (0..<tokens.count).map { unsafe bonus(chunk, $0, u.base + unit % heads * keys) }
    }
    forEachVector(values) { column in
      for (index, token) in tokens.enumerated() {
        let row = index * chunk.valueStep
        var x = unsafe Vector(loading: chunk.dv + row, at: column, of: values)
        if let weights {
          let ofOutput = unsafe Vector(loading: chunk.o + row, at: column, of: values)
          x.addProduct(Vector(repeating: weights[index]), ofOutput)
        }
        unsafe x.store(to: dv.base + token * dv.row, at: column, of: values)
      }
    }
  }

  /// Where the gate of a token lies, or its gradient; of its first key, where keys have their own.
  ///
  /// Of a tensor that has fewer heads each stands for as many neighbours.
  @inline(__always)
  private func gatePlace(_ tensor: MixerTensor, _ unit: Int, _ token: Int) -> Int {
    if gates == .all { return 0 }
    let (sequence, head) = unit.quotientAndRemainder(dividingBy: heads)
    let own = tensor.form.sizes[2]
    let row = (sequence * count + token) * own + head * own / heads
    return gates == .keys ? row * keys : row
  }

  @unsafe @inline(__always)
  private func storeGate(
    _ sum: Vector, _ ofGate: MixerTensor, _ place: Int, _ unit: Int, _ column: Int
  ) {
    switch gates {
    case .keys: unsafe sum.store(to: ofGate.base + place, at: column, of: keys)
    case .tokens: unsafe ofGate.base[place] += sum.laneSum
    case .all:
      for lane in 0..<min(8, keys - column) {
        ofGates.add(sum[lane], at: unit * keys + column + lane)
      }
    }
  }

  /// `v · do` of a token.
  @unsafe
  private func ofSelf(_ chunk: OuterProductChunk, _ index: Int) -> Float {
    let row = index * chunk.valueStep
    var sum = Vector.zero
    forEachVector(values) { column in
      unsafe sum.addProduct(
        Vector(loading: chunk.v + row, at: column, of: values),
        Vector(loading: chunk.o + row, at: column, of: values))
    }
    return sum.laneSum
  }

  /// Adds what all ranks and sequences have of decays that all tokens share, and of bonuses.
  func combine(on line: RankLine) throws(MPIError) {
    let shared = [(gates == .all ? "d\(gate)" : nil, ofGates), (u == nil ? nil : "du", ofBonus)]
    for case (let name?, let sums) in shared {
      let all = MixerTensor(
        zeros: TensorForm(
          name: "sums", dimensions: ["batch", "heads", "keys"], sizes: [batch, heads, keys]),
        tokens: 0)
      sums.store(to: all)
      try Summary.sum.combine(all, on: line)
      for place in 0..<all.count {
        unsafe gradients[name].base[place % (heads * keys)] += all.base[place]
      }
    }
  }
}
