import Compute

/// A chunk of the delta rule, in the memory of one thread.
@safe
struct DeltaWork: ~Copyable {
  private let scratch: Scratch
  private let d: Int
  private let c: Int
  /// `[tokens, headDim]`: queries times the scale, and keys.
  let q: StridedMatrix
  let k: StridedMatrix
  /// `[tokens, valueHeadDim]`: values, and then what they differ from what keys read.
  let v: StridedMatrix
  /// `[tokens]`.
  let beta: StridedMatrix
  /// `[tokens, valueHeadDim]`: what is added to the state.
  let u: StridedMatrix
  /// `[tokens, tokens]`: `k_t · k_j`.
  let products: StridedMatrix
  /// `[tokens, tokens]`: `−β_t k_t · k_j`, of which what is below the diagonal is read.
  let system: StridedMatrix
  /// `[tokens, tokens]`: `q_t · k_j` up to the diagonal, else 0.
  let scores: StridedMatrix
  private let turned: StridedMatrix

  /// Rows that are solved one after the other; those before them are a matrix product.
  private static let block = 16

  init(d: Int, c: Int, chunk: Int) {
    (self.d, self.c) = (d, c)
    var scratch = Scratch(
      count: chunk * (3 * d + 2 * c + 1) + 3 * chunk * chunk, parts: 9)
    q = unsafe StridedMatrix(scratch.take(chunk * d), row: d)
    k = unsafe StridedMatrix(scratch.take(chunk * d), row: d)
    v = unsafe StridedMatrix(scratch.take(chunk * c), row: c)
    u = unsafe StridedMatrix(scratch.take(chunk * c), row: c)
    beta = unsafe StridedMatrix(scratch.take(chunk), row: 1)
    products = unsafe StridedMatrix(scratch.take(chunk * chunk), row: chunk)
    system = unsafe StridedMatrix(scratch.take(chunk * chunk), row: chunk)
    scores = unsafe StridedMatrix(scratch.take(chunk * chunk), row: chunk)
    turned = unsafe StridedMatrix(scratch.take(chunk * d), row: chunk)
    self.scratch = scratch
  }

  /// Makes 0 what is right of the diagonal, and the diagonal too if it is asked for.
  func cutOff(_ matrix: StridedMatrix, _ count: Int, withDiagonal: Bool = false) {
    for row in 0..<count {
      let first = withDiagonal ? row : row + 1
      unsafe (matrix.base + row * matrix.row + first).update(repeating: 0, count: count - first)
    }
  }

  /// What tokens add to a state: `(I + A) U = β (V − K S)`.
  func solve(_ s: StridedMatrix, _ count: Int) {
    k.transpose(into: turned, rows: count, columns: d)
    multiply(k, turned, into: products, rows: count, depth: d, columns: count)
    multiply(k, s, into: u, rows: count, depth: d, columns: c)
    for token in 0..<count {
      let beta = unsafe beta.base[token]
      let (row, target) = unsafe (v.base + token * c, u.base + token * c)
      for column in 0..<c {
        unsafe row[column] -= target[column]
        unsafe target[column] = beta * row[column]
      }
      let (from, to) = unsafe (
        products.base + token * products.row, system.base + token * system.row
      )
      for other in 0..<count { unsafe to[other] = -beta * from[other] }
    }
    for start in Swift.stride(from: 0, to: count, by: Self.block) {
      let end = min(start + Self.block, count)
      if start > 0 {
        multiply(
          system.part(row: start), u, into: u.part(row: start), rows: end - start, depth: start,
          columns: c, adding: true)
      }
      for token in start..<end {
        for other in start..<token {
          unsafe add(u, other, times: system.base[token * system.row + other], to: token)
        }
      }
    }
  }

  /// `(I + A)ᵀ X = B`, in place.
  func solveTransposed(_ b: StridedMatrix, _ count: Int) {
    let starts = Swift.stride(from: 0, to: count, by: Self.block)
    for start in starts.reversed() {
      let end = min(start + Self.block, count)
      if end < count {
        multiply(
          system.part(row: end, column: start).transposed, b.part(row: end),
          into: b.part(row: start), rows: end - start, depth: count - end, columns: c,
          adding: true)
      }
      for token in (start..<end).reversed() {
        for other in token + 1..<max(end, token + 1) {
          unsafe add(b, other, times: system.base[other * system.row + token], to: token)
        }
      }
    }
  }

  /// Adds a row times a factor to another.
  @unsafe
  private func add(_ rows: StridedMatrix, _ other: Int, times factor: Float, to token: Int) {
    let (source, target) = unsafe (rows.base + other * rows.row, rows.base + token * rows.row)
    let factor = Vector(repeating: factor)
    forEachVector(c) { column in
      var x = unsafe Vector(loading: target, at: column, of: c)
      unsafe x.addProduct(Vector(loading: source, at: column, of: c), factor)
      unsafe x.store(to: target, at: column, of: c)
    }
  }

  /// `Q S + tril(Q Kᵀ) U`, after ``solve``.
  func read(_ s: StridedMatrix, _ count: Int, into o: StridedMatrix) {
    score(count)
    multiply(q, s, into: o, rows: count, depth: d, columns: c)
    multiply(scores, u, into: o, rows: count, depth: count, columns: c, adding: true)
  }

  /// `tril(Q Kᵀ)`, after ``solve``.
  func score(_ count: Int) {
    multiply(q, turned, into: scores, rows: count, depth: d, columns: count)
    cutOff(scores, count)
  }
}

/// The gradients of a chunk of the delta rule.
@safe
struct DeltaGradientWork: ~Copyable {
  let forward: DeltaWork
  private let scratch: Scratch
  private let d: Int
  private let c: Int
  /// `[tokens, valueHeadDim]`.
  let ofOutput: StridedMatrix
  /// `[tokens, headDim]`.
  let ofQueries: StridedMatrix
  let ofKeys: StridedMatrix
  /// `[tokens, valueHeadDim]`.
  let ofValues: StridedMatrix
  /// `[tokens]`.
  let ofBeta: StridedMatrix
  /// `[tokens, tokens]`.
  private let pairs: StridedMatrix
  /// `[valueHeadDim, tokens]`.
  private let turnedChanges: StridedMatrix
  /// `[valueHeadDim, headDim]`.
  private let turnedState: StridedMatrix

  init(d: Int, c: Int, chunk: Int) {
    (self.d, self.c) = (d, c)
    forward = DeltaWork(d: d, c: c, chunk: chunk)
    var scratch = Scratch(
      count: chunk * (2 * d + 3 * c + 1) + chunk * chunk + d * c, parts: 8)
    ofOutput = unsafe StridedMatrix(scratch.take(chunk * c), row: c)
    ofQueries = unsafe StridedMatrix(scratch.take(chunk * d), row: d)
    ofKeys = unsafe StridedMatrix(scratch.take(chunk * d), row: d)
    ofValues = unsafe StridedMatrix(scratch.take(chunk * c), row: c)
    ofBeta = unsafe StridedMatrix(scratch.take(chunk), row: 1)
    pairs = unsafe StridedMatrix(scratch.take(chunk * chunk), row: chunk)
    turnedChanges = unsafe StridedMatrix(scratch.take(chunk * c), row: chunk)
    turnedState = unsafe StridedMatrix(scratch.take(d * c), row: d)
    self.scratch = scratch
  }

  /// All gradients of a chunk.
  ///
  /// - Parameters:
  ///   - s: the state before it.
  ///   - ofState: the gradient of the state after it; becomes that of the state before it.
  func gradients(_ s: StridedMatrix, _ ofState: StridedMatrix, _ n: Int) {
    let (q, k, u) = (forward.q, forward.k, forward.u)
    forward.solve(s, n)
    forward.score(n)
    u.transpose(into: turnedChanges, rows: n, columns: c)
    // Those of the changes: of outputs, and of the state after the chunk.
    multiply(
      forward.scores.transposed, ofOutput, into: ofValues, rows: n, depth: n, columns: c)
    multiply(k, ofState, into: ofValues, rows: n, depth: d, columns: c, adding: true)
    // Of scores, and by them of queries and keys.
    multiply(ofOutput, turnedChanges, into: pairs, rows: n, depth: c, columns: n)
    forward.cutOff(pairs, n)
    multiply(pairs, k, into: ofQueries, rows: n, depth: n, columns: d)
    multiply(pairs.transposed, q, into: ofKeys, rows: n, depth: n, columns: d)
    ofState.transpose(into: turnedState, rows: d, columns: c)
    multiply(u, turnedState, into: ofKeys, rows: n, depth: c, columns: d, adding: true)
    multiply(
      q.transposed, ofOutput, into: ofState, rows: d, depth: n, columns: c, adding: true)
    s.transpose(into: turnedState, rows: d, columns: c)
    multiply(ofOutput, turnedState, into: ofQueries, rows: n, depth: c, columns: d, adding: true)
    // Of the right side of the system, and of its matrix.
    forward.solveTransposed(ofValues, n)
    multiply(ofValues, turnedChanges, into: pairs, rows: n, depth: c, columns: n)
    forward.cutOff(pairs, n, withDiagonal: true)
    takeBeta(n)
    multiply(pairs, k, into: ofKeys, rows: n, depth: n, columns: d, adding: true)
    multiply(pairs.transposed, k, into: ofKeys, rows: n, depth: n, columns: d, adding: true)
    // Now the negative gradient of what keys read from the state.
    multiply(ofValues, turnedState, into: ofKeys, rows: n, depth: c, columns: d, adding: true)
    multiply(k.transposed, ofValues, into: ofState, rows: d, depth: n, columns: c, adding: true)
    for index in 0..<n * c { unsafe ofValues.base[index] = -ofValues.base[index] }
  }

  /// The gradients of β; makes of `pairs` those of `k_t · k_j`, and of `ofValues` the negative of
  /// those of values.
  private func takeBeta(_ n: Int) {
    for token in 0..<n {
      let beta = unsafe forward.beta.base[token]
      let (row, value) = unsafe (ofValues.base + token * c, forward.v.base + token * c)
      var sum: Float = 0
      for column in 0..<c {
        sum += unsafe row[column] * value[column]
        unsafe row[column] *= -beta
      }
      let (pair, product) = unsafe (
        pairs.base + token * pairs.row, forward.products.base + token * forward.products.row
      )
      for other in 0..<token {
        sum -= unsafe pair[other] * product[other]
        unsafe pair[other] *= -beta
      }
      unsafe ofBeta.base[token] = sum
    }
  }
}
