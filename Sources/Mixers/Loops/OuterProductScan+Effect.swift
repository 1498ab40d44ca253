import Compute

/// What a rank's tokens do to a state, and to its gradient: `Σ_t (decays after t ∘ k_t) v_tᵀ`, a
/// product of matrices, in which decays only shrink keys.
extension OuterProductScan {
  /// What an effect takes over the pass that follows, by their multiply–adds.
  static func effectShare(backward: Bool, hasDecay: Bool) -> Double {
    // Forward a decay, a product and a reading; backward of three states, of which one is of
    // queries and is computed beside the scan.
    let each = hasDecay ? 5.0 : 4.0
    return 2 / (backward ? 3 * each : each)
  }

  /// Of the state, from the last token to the first.
  func effect(tokens count: Int) -> ScanEffect {
    unsafe ScanEffect(decayLength: body.keys) { unit, own, decay, poll in
      unsafe measure(unit, own, decay, poll, count, isForward: true)
    } apply: { _, own, decay, before in
      unsafe apply(own, decay, before)
    }
  }

  /// Of the gradient of the state, from the first token to the last.
  ///
  /// What passes along with it, `Σ q ∘ dq − k ∘ dk` of the tokens after a rank's, is the sum over
  /// columns of the state that the rank has handed on times the gradient that it is given.
  ///
  /// - Parameter last: those states.
  func gradientEffect(tokens count: Int, _ last: MixerTensor?) -> ScanEffect {
    unsafe ScanEffect(decayLength: body.keys) { unit, own, decay, poll in
      unsafe measure(unit, own, decay, poll, count, isForward: false)
    } apply: { unit, own, decay, before in
      unsafe apply(own, decay, before)
    } prepare: { unit, state in
      guard let last, body.gradientCarry > 0 else { return }
      let (rows, columns) = (body.keys, body.values)
      let handedOn = unsafe last.base + unit * rows * columns
      for row in 0..<rows {
        var sum = 0.0
        for column in 0..<columns {
          let place = row * columns + column
          sum += unsafe Double(handedOn[place]) * Double(state[place])
        }
        unsafe state[rows * columns + row] = Float(sum)
      }
    }
  }

  @unsafe
  private func apply(
    _ own: UnsafeMutablePointer<Float>, _ decay: UnsafeMutablePointer<Float>,
    _ before: UnsafeMutablePointer<Float>
  ) {
    let columns = body.values
    for row in 0..<body.keys {
      let factor = unsafe decay[row]
      for place in row * columns..<(row + 1) * columns {
        unsafe own[place] += factor * before[place]
      }
    }
  }

  /// Adds up a unit's tokens, each with the decays between it and where the state goes to: from
  /// there on, and no farther than something is left.
  @unsafe
  private func measure(
    _ unit: Int, _ own: UnsafeMutablePointer<Float>, _ decay: UnsafeMutablePointer<Float>,
    _ poll: Poll, _ count: Int, isForward: Bool
  ) {
    let (rows, columns) = (body.keys, body.values)
    unsafe own.update(repeating: 0, count: rows * columns)
    var scratch = Scratch(count: scratchLength + keyStep, parts: 10)
    let chunk = OuterProductChunk(
      keys: rows, values: columns, tokens: self.chunk, from: &scratch)
    let left = unsafe scratch.take(keyStep)
    unsafe left.update(repeating: 1, count: rows)
    let starts = Array(Swift.stride(from: 0, to: count, by: self.chunk))
    for start in isForward ? starts.reversed() : starts {
      let tokens = start..<min(start + self.chunk, count)
      // Forward keys and values, backward queries and gradients of outputs.
      if isForward {
        body.fillKeys(chunk, unit: unit, tokens: tokens)
      } else {
        body.fillQueries(chunk, unit: unit, tokens: tokens)
        body.fillGradient(chunk, unit: unit, tokens: tokens)
      }
      let (k, v) = unsafe isForward ? (chunk.k, chunk.v) : (chunk.q, chunk.o)
      if body.hasDecay {
        body.fillDecays(chunk, unit: unit, tokens: tokens)
        unsafe decayed(k, chunk.a, tokens.count, left, isForward: isForward)
      }
      unsafe multiply(
        StridedMatrix(k, row: keyStep).transposed, StridedMatrix(v, row: valueStep),
        into: StridedMatrix(own, row: columns), rows: rows, depth: tokens.count,
        columns: columns, adding: true)
      poll()
      if (0..<rows).allSatisfy({ unsafe left[$0] == 0 }) { break }
    }
    unsafe decay.update(from: left, count: rows)
  }

  /// Multiplies rows of keys with the decays of the tokens after them, or of queries with those
  /// before, and these with their own.
  @unsafe
  private func decayed(
    _ k: UnsafeMutablePointer<Float>, _ a: UnsafeMutablePointer<Float>, _ count: Int,
    _ left: UnsafeMutablePointer<Float>, isForward: Bool
  ) {
    // A token's own decay is between its query and the state before it, unless it reads first.
    let decaysFirst = !isForward && !body.readsFirst
    forEachVector(keyStep) { column in
      var decay = unsafe Vector(loading: left, at: column)
      for index in 0..<count {
        let place = (isForward ? count - 1 - index : index) * keyStep + column
        let own = unsafe Vector(loading: a, at: place)
        if decaysFirst { decay *= own }
        unsafe (Vector(loading: k, at: place) * decay).store(to: k, at: place)
        if !decaysFirst { decay *= own }
      }
      unsafe decay.store(to: left, at: column)
    }
  }
}
