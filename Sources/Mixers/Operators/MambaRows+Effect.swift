import Compute

/// What a rank's tokens do to Mamba's states and to their gradients: a state decays by
/// `e^{A Σ Δ}`, and each token's part of it by what of that is after the token.
extension MambaRows {
  /// What it takes over the pass that follows, by its operations, if nothing decays to nothing.
  static func effectShare(_ mixer: Mamba, backward: Bool) -> Double {
    let flops = mixer.flopsPerToken
    let own = Double(mixer.channels * (4 * mixer.states + 6))
    return own / (backward ? flops.backward : flops.forward)
  }

  /// Of states, from the last token to the first; or of their gradients, from the first to the
  /// last.
  func effect(_ blocks: ChannelBlocks, backward: Bool) -> ScanEffect {
    unsafe ScanEffect(decayLength: blocks.stride * states) { unit, own, decay, poll in
      unsafe measure(blocks, unit, own, decay, poll, isForward: !backward)
    } apply: { unit, own, decay, before in
      for place in 0..<blocks[unit].channels.count * states {
        unsafe own[place] += decay[place] * before[place]
      }
    }
  }

  /// Adds up a block's tokens, no farther than something is left of them.
  @unsafe
  private func measure(
    _ blocks: ChannelBlocks, _ block: Int, _ own: UnsafeMutablePointer<Float>,
    _ decay: UnsafeMutablePointer<Float>, _ poll: Poll, isForward: Bool
  ) {
    let (sequence, range) = blocks[block]
    let length = paddedToVectors(range.count) * states
    var scratch = Scratch(count: 2 * length + paddedToVectors(range.count), parts: 3)
    let (sums, rates) = unsafe (scratch.take(length), scratch.take(length))
    // Σ Δ of the tokens between a token and where the state goes to.
    let steps = unsafe scratch.take(paddedToVectors(range.count))
    unsafe spread(a.base + range.lowerBound * states, range.count, into: rates)
    // Of every eight channels, the numbers of states of which something is left.
    var left = [[Int]](repeating: Array(0..<states), count: (range.count + 7) / 8)
    let ahead = RowsAhead([u, delta], sequence: sequence, tokens: count, columns: range)
    let starts = Array(Swift.stride(from: 0, to: count, by: Self.chunk))
    for start in isForward ? starts.reversed() : starts {
      let tokens = start..<min(start + Self.chunk, count)
      forEachVector(range.count) { first in
        let numbers = left[first / 8]
        if numbers.isEmpty { return }
        let part = unsafe (steps + first, sums + first * states, rates + first * states)
        let (channel, lanes) = (range.lowerBound + first, range.count - first)
        if isForward {
          for token in tokens.reversed() {
            ahead.ask(for: token - Self.chunk, column: first)
            unsafe addInput(sequence * count + token, channel, lanes, numbers, part)
          }
        } else {
          for token in tokens {
            ahead.ask(for: token + Self.chunk, column: first)
            unsafe addGradient(sequence * count + token, channel, lanes, numbers, part)
          }
        }
        left[first / 8] = numbers.filter { unsafe any(remainder(part, $0) .> .zero) }
      }
      poll()
      if left.allSatisfy(\.isEmpty) { break }
    }
    unsafe gather(sums, range.count, into: own)
    forEachVector(range.count) { first in
      let part = unsafe (steps + first, sums + first * states, rates + first * states)
      for n in 0..<states { unsafe remainder(part, n).store(to: part.1, at: 8 * n) }
    }
    unsafe gather(sums, range.count, into: decay)
  }

  /// `Σ Δ`, what is added up, and the rates of eight channels.
  private typealias Part = (
    steps: UnsafeMutablePointer<Float>, sums: UnsafeMutablePointer<Float>,
    rates: UnsafeMutablePointer<Float>
  )

  /// What is left of a number of the state.
  @unsafe @inline(__always)
  private func remainder(_ part: Part, _ n: Int) -> Vector {
    unsafe vanishingExp(
      Vector(loading: part.steps, at: 0) * Vector(loading: part.rates, at: 8 * n))
  }

  /// Adds what is left of a token's input, and then the token to what others pass.
  @unsafe @inline(__always)
  private func addInput(
    _ row: Int, _ channel: Int, _ lanes: Int, _ numbers: [Int], _ part: Part
  ) {
    let place = row * channels + channel
    let step = unsafe step(place, channel, lanes).step
    let input = unsafe step * Vector(loading: u.base + place, at: 0, of: lanes)
    for n in numbers {
      let weight = unsafe Vector(repeating: b.base[row * states + n]) * input
      unsafe (remainder(part, n) * weight).add(to: part.sums, at: 8 * n)
    }
    unsafe step.add(to: part.steps, at: 0)
  }

  /// Adds what is left of the gradient that a token reads of the state; its own decay is between.
  @unsafe @inline(__always)
  private func addGradient(
    _ row: Int, _ channel: Int, _ lanes: Int, _ numbers: [Int], _ part: Part
  ) {
    let place = row * channels + channel
    unsafe step(place, channel, lanes).step.add(to: part.steps, at: 0)
    var dy = unsafe Vector(loading: o.base + place, at: 0, of: lanes)
    if let z {
      let gate = unsafe Vector(loading: z.base + place, at: 0, of: lanes)
      dy *= gate * sigmoid(gate)
    }
    for n in numbers {
      let weight = unsafe Vector(repeating: c.base[row * states + n]) * dy
      unsafe (remainder(part, n) * weight).add(to: part.sums, at: 8 * n)
    }
  }
}
