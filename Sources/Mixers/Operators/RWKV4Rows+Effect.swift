import Compute

/// What a rank's tokens do to the states of RWKV's fourth version and to their gradients: these
/// lose `Σ w` of their exponent, and meet what the tokens make of nothing.
extension RWKV4Rows {
  /// What it takes over the pass that follows: forward one of three exponentials and no division,
  /// backward four of six and no results.
  static func effectShare(backward: Bool) -> Double { backward ? 0.6 : 0.35 }

  /// Of states, or of their gradients.
  func effect(_ blocks: ChannelBlocks, backward: Bool) -> ScanEffect {
    unsafe ScanEffect(decayLength: blocks.stride) { unit, own, decay, poll in
      let (sequence, range) = blocks[unit]
      var scratch = Scratch(count: 3 * blocks.stride + 3 * Self.chunk * 8, parts: 2)
      let lanes = unsafe scratch.take(3 * blocks.stride)
      let states = unsafe scratch.take(3 * Self.chunk * 8)
      forEachVector(range.count) { first in
        unsafe Vector(repeating: RWKV4.nothing).store(to: lanes, at: 3 * first + 16)
      }
      let ahead = RowsAhead(
        [k, v] + (backward ? [o] + [r].compactMap { $0 } : []), sequence: sequence, tokens: count,
        columns: range)
      let starts = Array(Swift.stride(from: 0, to: count, by: Self.chunk))
      for start in backward ? starts.reversed() : starts {
        let tokens = start..<min(start + Self.chunk, count)
        forEachVector(range.count) { first in
          let channel = range.lowerBound + first
          if backward {
            _ = unsafe chunk(
              tokens, sequence, channel, width: range.count - first, lanes + 3 * first, states, nil
            ) { ahead.ask(for: $0 - Self.chunk, column: first) }
          } else {
            unsafe advance(
              tokens, sequence, channel, width: range.count - first, lanes + 3 * first
            ) { ahead.ask(for: $0 + Self.chunk, column: first) }
          }
        }
        poll()
      }
      unsafe gather(lanes, range.count, into: own)
      for (index, channel) in range.enumerated() {
        unsafe decay[index] = Float(count) * w.base[channel]
      }
    } apply: { unit, own, decay, before in
      for channel in 0..<blocks[unit].channels.count {
        let (here, there) = unsafe (own + 3 * channel, before + 3 * channel)
        let both = unsafe Meeting(
          Vector(repeating: there[2] + decay[channel]), Vector(repeating: here[2]))
        unsafe here[0] = both.a[0] * there[0] + both.b[0] * here[0]
        unsafe here[1] = both.a[0] * there[1] + both.b[0] * here[1]
        unsafe here[2] = both.top[0]
      }
    }
  }

  /// The state of eight channels after some tokens.
  @unsafe @inline(__always)
  private func advance(
    _ tokens: Range<Int>, _ sequence: Int, _ channel: Int, width: Int,
    _ s: UnsafeMutablePointer<Float>, ask: (_ token: Int) -> Void
  ) {
    var (p, q, e) = unsafe Self.load(s)
    let w = unsafe Vector(loading: w.base + channel, at: 0, of: width)
    for token in tokens {
      ask(token)
      let at = (sequence * count + token) * channels + channel
      let key = unsafe Vector(loading: k.base + at, at: 0, of: width)
      let value = unsafe Vector(loading: v.base + at, at: 0, of: width)
      Self.advance(&p, &q, &e, key, value, w)
    }
    unsafe Self.store((p, q, e), to: s)
  }
}
