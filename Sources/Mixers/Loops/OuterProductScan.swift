import MPI

/// Some tokens of a unit, as rows in scratch memory.
///
/// Rows of keys are `keyStep` floats apart and those of values `valueStep`; what is past the last
/// key or value of a row is 0.
@safe
struct OuterProductChunk {
  let keyStep: Int
  let valueStep: Int
  let q: UnsafeMutablePointer<Float>
  let k: UnsafeMutablePointer<Float>
  /// Decays, of keys.
  let a: UnsafeMutablePointer<Float>
  let v: UnsafeMutablePointer<Float>
  /// Outputs; backward their gradients.
  let o: UnsafeMutablePointer<Float>
  /// Gradients of queries or keys.
  let dk: UnsafeMutablePointer<Float>
  let dv: UnsafeMutablePointer<Float>

  /// - Parameter tokens: the most of a chunk.
  init(keys: Int, values: Int, tokens: Int, from scratch: inout Scratch) {
    keyStep = paddedToVectors(keys)
    valueStep = paddedToVectors(values)
    let (ofKeys, ofValues) = (tokens * keyStep, tokens * valueStep)
    unsafe q = unsafe scratch.take(ofKeys)
    unsafe k = unsafe scratch.take(ofKeys)
    unsafe a = unsafe scratch.take(ofKeys)
    unsafe v = unsafe scratch.take(ofValues)
    unsafe o = unsafe scratch.take(ofValues)
    unsafe dk = unsafe scratch.take(ofKeys)
    unsafe dv = unsafe scratch.take(ofValues)
  }

  @unsafe
  fileprivate func rows(_ base: UnsafeMutablePointer<Float>, _ step: Int) -> OuterProductState.Rows
  {
    unsafe OuterProductState.Rows(base, step: step)
  }
}

/// What an operator whose state grows by outer products gives and takes, a chunk at a time.
protocol OuterProductOperator: Sendable {
  /// Rows of the state.
  var keys: Int { get }
  /// Columns of the state.
  var values: Int { get }
  /// Whether there are decays.
  var hasDecay: Bool { get }
  /// Whether a token reads the state before it has added to it.
  var readsFirst: Bool { get }
  /// Floats that pass from a rank to the one before it beside the gradient of the state.
  var gradientCarry: Int { get }

  /// Fills q.
  func fillQueries(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>)

  /// Fills k and v.
  func fillKeys(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>)

  /// Fills a, where there are decays.
  func fillDecays(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>)

  /// Takes what was read, in o.
  func store(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>)

  /// Fills o with the gradient of what was read.
  func fillGradient(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>)

  /// Takes the gradient of queries, in dk.
  func storeQueries(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>)

  /// Takes the gradients of keys and values, in dk and dv, from the last chunk to the first.
  func storeKeys(
    _ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>,
    carry: UnsafeMutablePointer<Float>)
}

extension OuterProductOperator {
  var gradientCarry: Int { 0 }

  /// Fills all that the forward pass reads.
  func fill(_ chunk: OuterProductChunk, unit: Int, tokens: Range<Int>) {
    fillQueries(chunk, unit: unit, tokens: tokens)
    fillKeys(chunk, unit: unit, tokens: tokens)
    fillDecays(chunk, unit: unit, tokens: tokens)
  }
}

/// The passes of such an operator over the tokens of a rank.
struct OuterProductScan<Operator: OuterProductOperator>: Sendable {
  let body: Operator
  let units: Int
  /// Tokens that are laid out side by side at a time; what is computed does not depend on it.
  var chunk = Self.usualChunk

  /// So many that their rows stay in the first cache with the state.
  static var usualChunk: Int { 32 }

  var stateLength: Int { body.keys * body.values }
  var keyStep: Int { paddedToVectors(body.keys) }
  var valueStep: Int { paddedToVectors(body.values) }
  var scratchLength: Int {
    self.chunk * (4 * keyStep + 3 * valueStep) + body.keys * valueStep
      + body.values * keyStep
  }

  /// The form of a state of all units.
  private func stateForm(_ name: String, extra: Int = 0) -> TensorForm {
    TensorForm(name: name, dimensions: ["units", "state"], sizes: [units, stateLength + extra])
  }

  /// Reads the state of every token.
  ///
  /// - Parameters:
  ///   - states: `[units, keys, values]`, those that the sequence starts from, and those that it
  ///     ends with on the last rank; nil starts from 0.
  ///   - keeping: whether a backward pass follows.
  /// - Returns: what this rank has started from.
  func forward(
    states given: MixerTensor?, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerTensor? {
    let states = given ?? MixerTensor(zeros: stateForm("states"), tokens: 0)
    let carried = keeping ? MixerTensor(zeros: stateForm("carried"), tokens: 0) : nil
    let count = line.tokens
    try unsafe Scan(units: units, stateLength: stateLength).run(
      states, carried: carried, effect: effect(tokens: count), on: line
    ) {
      [self] unit, state, poll in
      var scratch = Scratch(count: scratchLength, parts: 9)
      let chunk = OuterProductChunk(
        keys: body.keys, values: body.values, tokens: self.chunk, from: &scratch)
      let s = unsafe scratch.take(body.keys * valueStep)
      unsafe copyRows(
        state, step: body.values, to: s, step: valueStep, rows: body.keys, columns: body.values)
      for start in Swift.stride(from: 0, to: count, by: self.chunk) {
        let tokens = start..<min(start + self.chunk, count)
        body.fill(chunk, unit: unit, tokens: tokens)
        unsafe OuterProductState.advance(
          s, rows: body.keys, columns: valueStep, tokens: tokens.count,
          k: chunk.rows(chunk.k, keyStep), v: chunk.rows(chunk.v, valueStep),
          q: chunk.rows(chunk.q, keyStep), o: chunk.rows(chunk.o, valueStep),
          a: chunk.rows(chunk.a, keyStep), body.hasDecay ? .rows : .none,
          body.readsFirst ? .readDecayAdd : .decayAddRead)
        body.store(chunk, unit: unit, tokens: tokens)
        poll()
      }
      unsafe copyRows(
        s, step: valueStep, to: state, step: body.values, rows: body.keys, columns: body.values)
    }
    return carried
  }

  /// Computes the gradients of queries, then those of keys, values and decays.
  ///
  /// - Parameters:
  ///   - carried: what the forward pass has returned.
  ///   - last: the states that this rank has handed on then.
  /// - Returns: the gradient of the states that the sequence starts from, on the first rank.
  func backward(
    carried: MixerTensor, last: MixerTensor?, on line: RankLine
  ) throws(MPIError) -> MixerTensor {
    queryGradients(carried, on: line)
    let extra = body.gradientCarry
    let states = MixerTensor(zeros: stateForm("gradients", extra: extra), tokens: 0)
    let scan = Scan(units: units, stateLength: stateLength + extra, isReverse: true)
    let count = line.tokens
    let effect = extra == 0 || last != nil ? gradientEffect(tokens: count, last) : nil
    try unsafe scan.run(states, carried: nil, effect: effect, on: line) {
      [self] unit, state, poll in
      var scratch = Scratch(count: scratchLength, parts: 9)
      let chunk = OuterProductChunk(
        keys: body.keys, values: body.values, tokens: self.chunk, from: &scratch)
      let r = unsafe scratch.take(body.keys * valueStep)
      let turned = unsafe scratch.take(body.values * keyStep)
      unsafe copyRows(
        state, step: body.values, to: r, step: valueStep, rows: body.keys, columns: body.values)
      unsafe StridedMatrix(state, row: body.values).transpose(
        into: StridedMatrix(turned, row: keyStep), rows: body.keys, columns: body.values)
      let chunks = Swift.stride(from: 0, to: count, by: self.chunk)
      for start in chunks.reversed() {
        let tokens = start..<min(start + self.chunk, count)
        body.fill(chunk, unit: unit, tokens: tokens)
        body.fillGradient(chunk, unit: unit, tokens: tokens)
        unsafe keyGradients(chunk, r, turned, tokens.count)
        unsafe body.storeKeys(chunk, unit: unit, tokens: tokens, carry: state + stateLength)
        poll()
      }
      unsafe copyRows(
        r, step: valueStep, to: state, step: body.values, rows: body.keys, columns: body.values)
    }
    return states
  }

  /// The state again, with its rows for columns, which the gradient of outputs reads.
  private func queryGradients(_ carried: MixerTensor, on line: RankLine) {
    let count = line.tokens
    if count == 0 { return }
    line.compute(units) { [self] unit, poll in
      var scratch = Scratch(count: scratchLength, parts: 9)
      let chunk = OuterProductChunk(
        keys: body.keys, values: body.values, tokens: self.chunk, from: &scratch)
      let s = unsafe scratch.take(body.values * keyStep)
      unsafe StridedMatrix(carried.base + unit * stateLength, row: body.values).transpose(
        into: StridedMatrix(s, row: keyStep), rows: body.keys, columns: body.values)
      for start in Swift.stride(from: 0, to: count, by: self.chunk) {
        let tokens = start..<min(start + self.chunk, count)
        body.fill(chunk, unit: unit, tokens: tokens)
        body.fillGradient(chunk, unit: unit, tokens: tokens)
        unsafe OuterProductState.advance(
          s, rows: body.values, columns: keyStep, tokens: tokens.count,
          k: chunk.rows(chunk.v, valueStep), v: chunk.rows(chunk.k, keyStep),
          q: chunk.rows(chunk.o, valueStep), o: chunk.rows(chunk.dk, keyStep),
          a: chunk.rows(chunk.a, keyStep), body.hasDecay ? .columns : .none,
          body.readsFirst ? .readDecayAdd : .decayAddRead)
        body.storeQueries(chunk, unit: unit, tokens: tokens)
        poll()
      }
    }
  }

  /// Keys and values read the gradient of the state, from the last token to the first.
  @unsafe
  private func keyGradients(
    _ chunk: OuterProductChunk, _ r: UnsafeMutablePointer<Float>,
    _ turned: UnsafeMutablePointer<Float>, _ count: Int
  ) {
    let q = unsafe chunk.rows(chunk.q, keyStep).reversed(count)
    let k = unsafe chunk.rows(chunk.k, keyStep).reversed(count)
    let a = unsafe chunk.rows(chunk.a, keyStep).reversed(count)
    let v = unsafe chunk.rows(chunk.v, valueStep).reversed(count)
    let o = unsafe chunk.rows(chunk.o, valueStep).reversed(count)
    let order = body.readsFirst ? OuterProductState.Order.readDecayAdd : .addReadDecay
    unsafe OuterProductState.advance(
      r, rows: body.keys, columns: valueStep, tokens: count, k: q, v: o, q: k,
      o: chunk.rows(chunk.dv, valueStep).reversed(count), a: a, body.hasDecay ? .rows : .none,
      order)
    unsafe OuterProductState.advance(
      turned, rows: body.values, columns: keyStep, tokens: count, k: o, v: q, q: v,
      o: chunk.rows(chunk.dk, keyStep).reversed(count), a: a, body.hasDecay ? .columns : .none,
      order)
  }
}
