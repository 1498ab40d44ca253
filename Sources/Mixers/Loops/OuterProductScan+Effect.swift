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

  /// Adds up a unit's tokens, each with the decays between it and where the state goes to.
  @unsafe
  private func measure(
    _ unit: Int, _ own: UnsafeMutablePointer<Float>, _ decay: UnsafeMutablePointer<Float>,
    _ poll: Poll, _ count: Int, isForward: Bool
  ) {
    let (rows, columns) = (body.keys, body.values)
    unsafe own.update(repeating: 0, count: rows * columns)
    unsafe decay.update(repeating: 1, count: rows)
    var scratch = Scratch(count: scratchLength, parts: 9)
    let chunk = OuterProductChunk(
      keys: rows, values: columns, tokens: self.chunk, from: &scratch)
    let starts = Array(Swift.stride(from: 0, to: count, by: self.chunk))
    for start in isForward ? starts.reversed() : starts {
      let tokens = start..<min(start + self.chunk, count)
      body.fill(chunk, unit: unit, tokens: tokens)
      if !isForward { body.fillGradient(chunk, unit: unit, tokens: tokens) }
      // Forward keys and values, backward queries and gradients of outputs.
      let (k, v) = unsafe isForward ? (chunk.k, chunk.v) : (chunk.q, chunk.o)
      let indices = isForward ? Array((0..<tokens.count).reversed()) : Array(0..<tokens.count)
      for index in indices {
        // A token's own decay is between its query and the state before it, unless it reads first.
        let decaysFirst = !isForward && !body.readsFirst
        let row = index * keyStep
        for key in 0..<rows {
          let a = unsafe body.hasDecay ? chunk.a[row + key] : 1
          if decaysFirst { unsafe decay[key] *= a }
          unsafe k[row + key] *= decay[key]
          if !decaysFirst { unsafe decay[key] *= a }
        }
      }
      unsafe multiply(
        StridedMatrix(k, row: keyStep).transposed, StridedMatrix(v, row: valueStep),
        into: StridedMatrix(own, row: columns), rows: rows, depth: tokens.count,
        columns: columns, adding: true)
      poll()
    }
  }
}
