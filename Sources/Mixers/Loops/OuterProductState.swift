import Compute

/// A state `S [rows, columns]` that grows by an outer product a token and may decay: what linear
/// attention, gated or not, and RWKV from version 5 on carry along a sequence, and their gradients.
///
/// Several tokens are taken in turn while sixteen columns of a row of the state are in registers,
/// so that a token costs its multiply–adds and little else; on processors that is as fast as the
/// chunked form with matrix products, which trades multiply–adds of the state for those of scores,
/// and has no powers of decays that could overflow.
enum OuterProductState {
  /// In which order a token's decay, its product and its reading come.
  enum Order {
    /// `S ← a S + k vᵀ`, then `o = q S`.
    case decayAddRead
    /// `S ← S + k vᵀ`, `o = q S`, then `S ← a S`: the first backwards.
    case addReadDecay
    /// `o = q S`, then `S ← a S + k vᵀ`.
    case readDecayAdd
  }

  /// What decays are given for.
  enum Decay {
    case none
    /// `[tokens, rows]`.
    case rows
    /// `[tokens, columns]`.
    case columns
  }

  /// Rows of some tokens, in the order in which they are taken: `[tokens, step]`, where the step
  /// may be negative.
  @safe
  struct Rows {
    let base: UnsafeMutablePointer<Float>
    let step: Int

    @unsafe
    init(_ base: UnsafeMutablePointer<Float>, step: Int) {
      unsafe self.base = unsafe base
      self.step = step
    }

    /// The same tokens from the last to the first.
    func reversed(_ count: Int) -> Rows {
      unsafe Rows(base + (count - 1) * step, step: -step)
    }

    /// Without some tokens.
    fileprivate func dropping(_ count: Int) -> Rows { unsafe Rows(base + count * step, step: step) }
  }

  /// Takes some tokens.
  ///
  /// - Parameters:
  ///   - state: `[rows, columns]`.
  ///   - rows: of the state.
  ///   - columns: of the state, a multiple of 8.
  ///   - tokens: how many.
  ///   - k: `rows` numbers a token, which are added times `v`.
  ///   - v: `columns` numbers a token.
  ///   - q: `rows` numbers a token, with which the state is read.
  ///   - o: `columns` numbers a token, which are written.
  ///   - a: the decays.
  @unsafe
  static func advance(
    _ state: UnsafeMutablePointer<Float>, rows: Int, columns: Int, tokens: Int, k: Rows, v: Rows,
    q: Rows, o: Rows, a: Rows?, _ decay: Decay, _ order: Order
  ) {
    // A switch here and not in the loops: each case is a loop of its own.
    switch (decay, order) {
    case (.none, .readDecayAdd):
      unsafe run(state, rows, columns, tokens, k, v, q, o, k, .none, .readDecayAdd)
    case (.none, _):
      unsafe run(state, rows, columns, tokens, k, v, q, o, k, .none, .decayAddRead)
    case (.rows, .decayAddRead):
      unsafe run(state, rows, columns, tokens, k, v, q, o, a ?? k, .rows, .decayAddRead)
    case (.rows, .addReadDecay):
      unsafe run(state, rows, columns, tokens, k, v, q, o, a ?? k, .rows, .addReadDecay)
    case (.rows, .readDecayAdd):
      unsafe run(state, rows, columns, tokens, k, v, q, o, a ?? k, .rows, .readDecayAdd)
    case (.columns, .decayAddRead):
      unsafe run(state, rows, columns, tokens, k, v, q, o, a ?? v, .columns, .decayAddRead)
    case (.columns, .addReadDecay):
      unsafe run(state, rows, columns, tokens, k, v, q, o, a ?? v, .columns, .addReadDecay)
    case (.columns, .readDecayAdd):
      unsafe run(state, rows, columns, tokens, k, v, q, o, a ?? v, .columns, .readDecayAdd)
    }
  }

  @unsafe @inline(__always)
  private static func run(
    _ state: UnsafeMutablePointer<Float>, _ rows: Int, _ columns: Int, _ tokens: Int, _ k: Rows,
    _ v: Rows, _ q: Rows, _ o: Rows, _ a: Rows, _ decay: Decay, _ order: Order
  ) {
    var token = 0
    while token + 4 <= tokens {
      let (k, v, q) = (k.dropping(token), v.dropping(token), q.dropping(token))
      let (o, a) = (o.dropping(token), a.dropping(token))
      var column = 0
      while column + 16 <= columns {
        unsafe four(state, rows, columns, column, k, v, q, o, a, decay, order)
        column += 16
      }
      if column < columns {
        for index in 0..<4 {
          unsafe one(
            state, rows, columns, column, k.dropping(index), v.dropping(index), q.dropping(index),
            o.dropping(index), a.dropping(index), decay, order)
        }
      }
      token += 4
    }
    while token < tokens {
      for column in stride(from: 0, to: columns, by: 8) {
        unsafe one(
          state, rows, columns, column, k.dropping(token), v.dropping(token), q.dropping(token),
          o.dropping(token), a.dropping(token), decay, order)
      }
      token += 1
    }
  }

  /// Eight columns of one token.
  @unsafe @inline(__always)
  private static func one(
    _ state: UnsafeMutablePointer<Float>, _ rows: Int, _ columns: Int, _ column: Int, _ k: Rows,
    _ v: Rows, _ q: Rows, _ o: Rows, _ a: Rows, _ decay: Decay, _ order: Order
  ) {
    let value = unsafe Vector(loading: v.base, at: column)
    let factor =
      unsafe decay == .columns ? Vector(loading: a.base, at: column) : Vector(repeating: 1)
    var sum = Vector.zero
    var place = column
    for row in 0..<rows {
      var s = unsafe Vector(loading: state, at: place)
      let key = unsafe Vector(repeating: k.base[row])
      let query = unsafe Vector(repeating: q.base[row])
      let d = unsafe decay == .rows ? Vector(repeating: a.base[row]) : factor
      take(&s, key, value, query, d, &sum, decay, order)
      unsafe s.store(to: state, at: place)
      place += columns
    }
    unsafe sum.store(to: o.base, at: column)
  }

  @inline(__always)
  private static func take(
    _ s: inout Vector, _ key: Vector, _ value: Vector, _ query: Vector, _ a: Vector,
    _ sum: inout Vector, _ decay: Decay, _ order: Order
  ) {
    switch order {
    case .decayAddRead:
      if decay != .none { s *= a }
      s.addProduct(key, value)
      sum.addProduct(query, s)
    case .addReadDecay:
      s.addProduct(key, value)
      sum.addProduct(query, s)
      if decay != .none { s *= a }
    case .readDecayAdd:
      sum.addProduct(query, s)
      if decay != .none { s *= a }
      s.addProduct(key, value)
    }
  }

  /// Sixteen columns of four tokens.
  @unsafe @inline(__always)
  private static func four(
    _ state: UnsafeMutablePointer<Float>, _ rows: Int, _ columns: Int, _ column: Int, _ k: Rows,
    _ v: Rows, _ q: Rows, _ o: Rows, _ a: Rows, _ decay: Decay, _ order: Order
  ) {
    let (k0, q0, a0) = unsafe (k.base, q.base, a.base)
    let (k1, q1, a1) = unsafe (k0 + k.step, q0 + q.step, a0 + a.step)
    let (k2, q2, a2) = unsafe (k1 + k.step, q1 + q.step, a1 + a.step)
    let (k3, q3, a3) = unsafe (k2 + k.step, q2 + q.step, a2 + a.step)
    let v0 = unsafe UnsafePointer(v.base + column)
    let (v1, v2, v3) = unsafe (v0 + v.step, v0 + 2 * v.step, v0 + 3 * v.step)
    let c = column
    var (s00, s01, s10, s11) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
    var (s20, s21, s30, s31) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
    var place = column
    for row in 0..<rows {
      var x = unsafe Vector(loading: state, at: place)
      var y = unsafe Vector(loading: state, at: place + 8)
      unsafe both(
        &x, &y, k0[row], v0, q0[row], a0, row, c, &s00, &s01, decay, order)
      unsafe both(
        &x, &y, k1[row], v1, q1[row], a1, row, c, &s10, &s11, decay, order)
      unsafe both(
        &x, &y, k2[row], v2, q2[row], a2, row, c, &s20, &s21, decay, order)
      unsafe both(
        &x, &y, k3[row], v3, q3[row], a3, row, c, &s30, &s31, decay, order)
      unsafe x.store(to: state, at: place)
      unsafe y.store(to: state, at: place + 8)
      place += columns
    }
    let target = unsafe o.base + column
    unsafe s00.store(to: target, at: 0)
    unsafe s01.store(to: target, at: 8)
    unsafe s10.store(to: target, at: o.step)
    unsafe s11.store(to: target, at: o.step + 8)
    unsafe s20.store(to: target, at: 2 * o.step)
    unsafe s21.store(to: target, at: 2 * o.step + 8)
    unsafe s30.store(to: target, at: 3 * o.step)
    unsafe s31.store(to: target, at: 3 * o.step + 8)
  }

  @unsafe @inline(__always)
  private static func both(
    _ x: inout Vector, _ y: inout Vector, _ k: Float, _ v: UnsafePointer<Float>, _ q: Float,
    _ a: UnsafeMutablePointer<Float>, _ row: Int, _ column: Int, _ sum0: inout Vector,
    _ sum1: inout Vector, _ decay: Decay, _ order: Order
  ) {
    let (key, query) = (Vector(repeating: k), Vector(repeating: q))
    let (v0, v1) = unsafe (Vector(loading: v, at: 0), Vector(loading: v, at: 8))
    var (d0, d1) = (Vector.zero, Vector.zero)
    switch decay {
    case .none: break
    case .rows:
      d0 = unsafe Vector(repeating: a[row])
      d1 = d0
    case .columns:
      d0 = unsafe Vector(loading: a, at: column)
      d1 = unsafe Vector(loading: a, at: column + 8)
    }
    take(&x, key, v0, query, d0, &sum0, decay, order)
    take(&y, key, v1, query, d1, &sum1, decay, order)
  }
}
