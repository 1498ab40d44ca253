import Compute
import Glibc
import MPI
import Tensors

/// The rows of cosFormer's queries and keys with twice as many columns, and of values with a 1
/// after them, whose sum is that of the weights.
struct CosformerRows: OuterProductOperator {
  private let mixer: Cosformer
  private let q: MixerTensor
  private let k: MixerTensor
  private let v: MixerTensor
  private let o: MixerTensor
  /// The sum of the weights of each query.
  private let sums: MixerTensor
  private let gradient: MixerTensor?
  private let gradients: MixerTensors
  /// `[tokens, 2]`: sine and cosine of each token's angle.
  private let angles: MixerTensor
  private let count: Int

  init(
    _ mixer: Cosformer, _ x: MixerTensors, o: MixerTensor, sums: MixerTensor, on line: RankLine,
    gradient: MixerTensor? = nil, gradients: MixerTensors = MixerTensors()
  ) {
    self.mixer = mixer
    (q, k, v, self.o, self.sums) = (x["q"], x["k"], x["v"], o, sums)
    self.gradient = gradient
    self.gradients = gradients
    count = line.tokens
    let angles = MixerTensor(
      zeros: TensorForm(name: "angles", dimensions: ["tokens", "two"], sizes: [0, 2]),
      tokens: line.tokens)
    let (runs, length) = (line.runs, Double(mixer.length))
    line.forEachSegment(units: 1) { _, tokens, _ in
      for token in tokens {
        let angle = Double.pi * Double(runs.position(at: token) + 1) / (2 * length)
        unsafe angles.base[2 * token] = Float(sin(angle))
        unsafe angles.base[2 * token + 1] = Float(cos(angle))
      }
    }
    self.angles = angles
  }

  var keys: Int { 2 * mixer.d }
  var values: Int { mixer.c + 1 }
  var hasDecay: Bool { false }
  var readsFirst: Bool { false }

  func fillQueries(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    unsafe widen(q, unit, mixer.heads, tokens, into: chunk.q, step: chunk.keyStep)
  }

  func fillKeys(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    unsafe widen(k, unit, mixer.heads, tokens, into: chunk.k, step: chunk.keyStep)
    unsafe fillValues(chunk.v, step: chunk.valueStep, unit, mixer.heads, tokens)
  }

  func fillDecays(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {}

  func store(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    unsafe divide(chunk.o, step: chunk.valueStep, unit, tokens)
  }

  func fillGradient(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    unsafe fillGradient(chunk.o, step: chunk.valueStep, unit, tokens)
  }

  func storeQueries(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    unsafe narrow(
      chunk.dk, step: chunk.keyStep, q, unit, mixer.heads, tokens, into: gradients["dq"])
  }

  func storeKeys(
    _ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>, carry: UnsafeMutablePointer<Float>
  ) {
    unsafe narrow(
      chunk.dk, step: chunk.keyStep, k, unit, mixer.heads, tokens, into: gradients["dk"])
    let target = unsafe headRows(gradients["dv"], unit, heads: mixer.heads, tokens: count)
    unsafe copyRows(
      chunk.dv, step: chunk.valueStep, to: target.base + tokens.lowerBound * target.row,
      step: target.row, rows: tokens.count, columns: mixer.c)
  }

  // MARK: Rows

  /// `(relu(x) sin, relu(x) cos)` of a unit of so many heads.
  @unsafe
  private func widen(
    _ tensor: MixerTensor, _ unit: Int, _ heads: Int, _ tokens: Range<Int>,
    into target: UnsafeMutablePointer<Float>, step: Int
  ) {
    let rows = unsafe headRows(tensor, unit, heads: heads, tokens: count)
    let d = mixer.d
    // Column by column: see ``copyRows``.
    forEachVector(d) { column in
      for (index, token) in tokens.enumerated() {
        let (row, wide) = unsafe (rows.base + token * rows.row, target + index * step)
        let sine = unsafe Vector(repeating: angles.base[2 * token])
        let cosine = unsafe Vector(repeating: angles.base[2 * token + 1])
        let x = unsafe Vector(loading: row, at: column, of: d)
        let positive = Vector.zero.replacing(with: x, where: x .> .zero)
        unsafe (positive * sine).store(to: wide, at: column, of: d)
        unsafe (positive * cosine).store(to: wide + d, at: column, of: d)
      }
    }
  }

  /// The gradient of x from that of its wide form.
  @unsafe
  private func narrow(
    _ wide: UnsafeMutablePointer<Float>, step: Int, _ tensor: MixerTensor, _ unit: Int,
    _ heads: Int, _ tokens: Range<Int>, into gradient: MixerTensor
  ) {
    let rows = unsafe headRows(tensor, unit, heads: heads, tokens: count)
    let targets = unsafe headRows(gradient, unit, heads: heads, tokens: count)
    let d = mixer.d
    forEachVector(d) { column in
      for (index, token) in tokens.enumerated() {
        let (row, from) = unsafe (rows.base + token * rows.row, wide + index * step)
        let target = unsafe targets.base + token * targets.row
        let sine = unsafe Vector(repeating: angles.base[2 * token])
        let cosine = unsafe Vector(repeating: angles.base[2 * token + 1])
        let x = unsafe Vector(loading: row, at: column, of: d)
        var dx = unsafe Vector(loading: from, at: column, of: d) * sine
        unsafe dx.addProduct(Vector(loading: from + d, at: column, of: d), cosine)
        let kept = Vector.zero.replacing(with: dx, where: x .> .zero)
        unsafe kept.store(to: target, at: column, of: d)
      }
    }
  }

  /// Values, and a 1.
  @unsafe
  private func fillValues(
    _ target: UnsafeMutablePointer<Float>, step: Int, _ unit: Int, _ heads: Int,
    _ tokens: Range<Int>
  ) {
    let rows = unsafe headRows(v, unit, heads: heads, tokens: count)
    unsafe copyRows(
      rows.base + tokens.lowerBound * rows.row, step: rows.row, to: target, step: step,
      rows: tokens.count, columns: mixer.c)
    for index in 0..<tokens.count { unsafe target[index * step + mixer.c] = 1 }
  }

  private func sumPlace(_ unit: Int, _ token: Int) -> Int {
    let (sequence, head) = unit.quotientAndRemainder(dividingBy: mixer.heads)
    return (sequence * count + token) * mixer.heads + head
  }

  /// Divides what was read by the sums of weights, and keeps these.
  @unsafe
  private func divide(
    _ source: UnsafeMutablePointer<Float>, step: Int, _ unit: Int, _ tokens: Range<Int>
  ) {
    let targets = unsafe headRows(o, unit, heads: mixer.heads, tokens: count)
    let c = mixer.c
    for (index, token) in tokens.enumerated() {
      unsafe sums.base[sumPlace(unit, token)] = source[index * step + c]
    }
    forEachVector(c) { column in
      for (index, token) in tokens.enumerated() {
        let (row, target) = unsafe (source + index * step, targets.base + token * targets.row)
        let factor = unsafe Vector(repeating: 1 / max(row[c], Cosformer.leastSum))
        let x = unsafe Vector(loading: row, at: column, of: c) * factor
        unsafe x.store(to: target, at: column, of: c)
      }
    }
  }

  /// `do / sum`, and the gradient of the sum.
  @unsafe
  private func fillGradient(
    _ target: UnsafeMutablePointer<Float>, step: Int, _ unit: Int, _ tokens: Range<Int>
  ) {
    guard let gradient else { return }
    let rows = unsafe headRows(gradient, unit, heads: mixer.heads, tokens: count)
    let outputs = unsafe headRows(o, unit, heads: mixer.heads, tokens: count)
    let c = mixer.c
    for index in 0..<tokens.count { unsafe target[index * step + c] = 0 }
    forEachVector(c) { column in
      for (index, token) in tokens.enumerated() {
        let (row, output) = unsafe (
          rows.base + token * rows.row, outputs.base + token * outputs.row
        )
        let sum = unsafe sums.base[sumPlace(unit, token)]
        let x =
          unsafe Vector(loading: row, at: column, of: c)
          * Vector(repeating: 1 / max(sum, Cosformer.leastSum))
        let both = unsafe x * Vector(loading: output, at: column, of: c)
        unsafe x.store(to: target + index * step, at: column, of: c)
        if sum > Cosformer.leastSum { unsafe target[index * step + c] -= both.laneSum }
      }
    }
  }

  // MARK: Without a mask

  private var stateForm: TensorForm {
    TensorForm(
      name: "state", dimensions: ["units", "sums"], sizes: [mixer.kvUnits, keys * values])
  }

  /// The heads of queries that read the state of a head of keys and values.
  private func readers(of kvUnit: Int) -> Range<Int> {
    let group = mixer.heads / mixer.kvHeads
    return kvUnit * group..<(kvUnit + 1) * group
  }

  /// Adds up the state of the whole sequence, and reads it.
  func meetAll(on line: RankLine) throws(MPIError) -> MixerTensor {
    let state = MixerTensor(zeros: stateForm, tokens: 0)
    unsafe line.addUp(units: mixer.kvUnits, to: state) { kvUnit, tokens, total, poll in
      var scratch = Scratch(count: partOfSums * (keys + values), parts: 2)
      let wide = unsafe StridedMatrix(scratch.take(partOfSums * keys), row: keys)
      let long = unsafe StridedMatrix(scratch.take(partOfSums * values), row: values)
      forEachPart(tokens) { part in
        unsafe widen(k, kvUnit, mixer.kvHeads, part, into: wide.base, step: keys)
        unsafe fillValues(long.base, step: values, kvUnit, mixer.kvHeads, part)
        unsafe addProducts(
          wide, long, part.count, rows: keys, columns: values, to: total, poll)
      }
    }
    try Summary.sum.combine(state, on: line)
    line.forEachSegment(units: mixer.kvUnits) { kvUnit, tokens, poll in
      var scratch = Scratch(count: partOfSums * (keys + values), parts: 2)
      let wide = unsafe StridedMatrix(scratch.take(partOfSums * keys), row: keys)
      let long = unsafe StridedMatrix(scratch.take(partOfSums * values), row: values)
      let z = unsafe StridedMatrix(state.base + kvUnit * keys * values, row: values)
      forEachPart(tokens) { part in
        for unit in readers(of: kvUnit) {
          unsafe widen(q, unit, mixer.heads, part, into: wide.base, step: keys)
          multiply(wide, z, into: long, rows: part.count, depth: keys, columns: values)
          unsafe divide(long.base, step: values, unit, part)
          poll()
        }
      }
    }
    return state
  }

  /// The gradient of the state, and by it those of keys and values.
  func meetAllBackward(_ state: MixerTensor, on line: RankLine) throws(MPIError) {
    let ofState = MixerTensor(zeros: stateForm, tokens: 0)
    unsafe line.addUp(units: mixer.kvUnits, to: ofState) { kvUnit, tokens, total, poll in
      var scratch = Scratch(count: 2 * partOfSums * (keys + values) + keys * values, parts: 5)
      let wide = unsafe StridedMatrix(scratch.take(partOfSums * keys), row: keys)
      let ofWide = unsafe StridedMatrix(scratch.take(partOfSums * keys), row: keys)
      let long = unsafe StridedMatrix(scratch.take(partOfSums * values), row: values)
      let turned = unsafe transposed(state, kvUnit, &scratch)
      for unit in readers(of: kvUnit) {
        forEachPart(tokens) { part in
          unsafe widen(q, unit, mixer.heads, part, into: wide.base, step: keys)
          unsafe fillGradient(long.base, step: values, unit, part)
          unsafe addProducts(
            wide, long, part.count, rows: keys, columns: values, to: total, poll)
          multiply(long, turned, into: ofWide, rows: part.count, depth: values, columns: keys)
          unsafe narrow(
            ofWide.base, step: keys, q, unit, mixer.heads, part, into: gradients["dq"])
        }
      }
    }
    try Summary.sum.combine(ofState, on: line)
    line.forEachSegment(units: mixer.kvUnits) { unit, tokens, poll in
      var scratch = Scratch(count: 2 * partOfSums * (keys + values) + keys * values, parts: 5)
      let wide = unsafe StridedMatrix(scratch.take(partOfSums * keys), row: keys)
      let long = unsafe StridedMatrix(scratch.take(partOfSums * values), row: values)
      let z = unsafe StridedMatrix(ofState.base + unit * keys * values, row: values)
      let turned = unsafe transposed(ofState, unit, &scratch)
      let dv = unsafe headRows(gradients["dv"], unit, heads: mixer.kvHeads, tokens: count)
      forEachPart(tokens) { part in
        unsafe widen(k, unit, mixer.kvHeads, part, into: wide.base, step: keys)
        multiply(
          wide, z, into: dv.part(row: part.lowerBound), rows: part.count, depth: keys,
          columns: mixer.c)
        unsafe fillValues(long.base, step: values, unit, mixer.kvHeads, part)
        multiply(long, turned, into: wide, rows: part.count, depth: values, columns: keys)
        unsafe narrow(
          wide.base, step: keys, k, unit, mixer.kvHeads, part, into: gradients["dk"])
        poll()
      }
    }
  }

  /// A state `[values, keys]`.
  @unsafe
  private func transposed(
    _ state: MixerTensor, _ unit: Int, _ scratch: inout Scratch
  ) -> StridedMatrix {
    let target = unsafe StridedMatrix(scratch.take(keys * values), row: keys)
    unsafe StridedMatrix(state.base + unit * keys * values, row: values)
      .transpose(into: target, rows: keys, columns: values)
    return target
  }

  private func forEachPart(_ tokens: Range<Int>, _ body: (Range<Int>) -> Void) {
    for start in Swift.stride(from: tokens.lowerBound, to: tokens.upperBound, by: partOfSums) {
      body(start..<min(start + partOfSums, tokens.upperBound))
    }
  }
}
