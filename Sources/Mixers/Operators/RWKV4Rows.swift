import Compute
import Tensors

/// Where the gradients of the tensors of tokens go.
struct RWKV4Gradients {
  let r: MixerTensor?
  let k: MixerTensor
  let v: MixerTensor

  init(_ gradients: MixerTensors) {
    (r, k, v) = (gradients.find("dr"), gradients["dk"], gradients["dv"])
  }
}

/// The loops of RWKV's fourth version: eight channels side by side, token by token.
struct RWKV4Rows {
  let r: MixerTensor?
  let k: MixerTensor
  let v: MixerTensor
  let w: MixerTensor
  private let u: MixerTensor
  /// Outputs; backward the gradient of these.
  let o: MixerTensor
  let count: Int
  let channels: Int
  /// `[batch, chunks, 3, channels]`: states before each chunk.
  let checkpoints: MixerTensor?

  /// Tokens of which states are there at a time.
  static let chunk = 64

  init(
    _ x: MixerTensors, o: MixerTensor, tokens: Int, keeping: Bool, forms: MixerSizes,
    checkpoints: MixerTensor? = nil
  ) {
    (r, k, v, w, u, self.o) = (x.find("r"), x["k"], x["v"], x["w"], x["u"], o)
    (count, channels) = (tokens, forms["channels"])
    self.checkpoints =
      keeping
      ? MixerTensor(
        zeros: TensorForm(
          name: "checkpoints", dimensions: ["batch", "chunks", "three", "channels"],
          sizes: [forms["batch"], (tokens + Self.chunk - 1) / Self.chunk, 3, forms["channels"]]),
        tokens: 0) : checkpoints
  }

  /// Where the state of a channel before a chunk lies; those of numerator, denominator and exponent
  /// are `channels` apart.
  private func checkpointPlace(_ sequence: Int, _ chunk: Int, _ channel: Int) -> Int {
    let chunks = (count + Self.chunk - 1) / Self.chunk
    return (sequence * chunks + chunk) * 3 * channels + channel
  }

  /// What a token takes of the state and of itself.
  struct Meeting {
    /// Of the state and of the token, by the larger of their exponents.
    let a: Vector
    let b: Vector
    let top: Vector

    @inline(__always)
    init(_ exponent: Vector, _ other: Vector) {
      // One of both factors is 1.
      let difference = exponent - other
      let smaller = exp(-difference.magnitude)
      let one = Vector(repeating: 1)
      let isFirst = difference .> .zero
      a = smaller.replacing(with: one, where: isFirst)
      b = one.replacing(with: smaller, where: isFirst)
      top = other.replacing(with: exponent, where: isFirst)
    }
  }

  @inline(__always)
  static func advance(
    _ p: inout Vector, _ q: inout Vector, _ e: inout Vector, _ k: Vector, _ v: Vector, _ w: Vector
  ) {
    let next = Meeting(e + w, k)
    p = (next.a * p).addingProduct(next.b, v)
    q = (next.a * q) + next.b
    e = next.top
  }

  /// Outputs of one block of channels; its state goes on.
  @unsafe
  func forward(
    _ blocks: ChannelBlocks, _ block: Int, _ state: UnsafeMutablePointer<Float>, _ poll: Poll
  ) {
    let (sequence, range) = blocks[block]
    let length = 3 * paddedToVectors(range.count)
    var carried = Scratch(count: length, parts: 1)
    let lanes = unsafe carried.take(length)
    // Whole rows follow each other in memory, so that row by row is fastest.
    let isWhole = range.count == channels
    let ahead = RowsAhead(
      isWhole ? [] : [k, v, o] + [r].compactMap { $0 }, sequence: sequence, tokens: count,
      columns: range)
    unsafe spread(state, range.count, into: lanes)
    for start in Swift.stride(from: 0, to: count, by: Self.chunk) {
      if let checkpoints {
        let at = checkpointPlace(sequence, start / Self.chunk, range.lowerBound)
        unsafe keep(lanes, range.count, in: checkpoints.base + at)
      }
      let end = min(start + Self.chunk, count)
      let together = isWhole ? 1 : Self.chunk
      for first in Swift.stride(from: start, to: end, by: together) {
        let tokens = first..<min(first + together, end)
        forEachVector(range.count) { column in
          unsafe outputs(tokens, sequence, range, column, lanes + 3 * column, ahead)
        }
      }
      poll()
    }
    unsafe gather(lanes, range.count, into: state)
  }

  /// The outputs of eight channels of a chunk; their state goes on.
  @unsafe @inline(__always)
  private func outputs(
    _ tokens: Range<Int>, _ sequence: Int, _ range: Range<Int>, _ first: Int,
    _ s: UnsafeMutablePointer<Float>, _ ahead: RowsAhead
  ) {
    let (channel, width) = (range.lowerBound + first, range.count - first)
    var (p, q, e) = unsafe Self.load(s)
    let (w, u) = unsafe (
      Vector(loading: w.base + channel, at: 0, of: width),
      Vector(loading: u.base + channel, at: 0, of: width)
    )
    for token in tokens {
      ahead.ask(for: token + Self.chunk, column: first)
      let at = (sequence * count + token) * channels + channel
      let key = unsafe Vector(loading: k.base + at, at: 0, of: width)
      let value = unsafe Vector(loading: v.base + at, at: 0, of: width)
      let own = Meeting(e, u + key)
      var y = (own.a * p).addingProduct(own.b, value) / (own.a * q + own.b)
      if let r { y *= unsafe sigmoid(Vector(loading: r.base + at, at: 0, of: width)) }
      unsafe y.store(to: o.base + at, at: 0, of: width)
      Self.advance(&p, &q, &e, key, value, w)
    }
    unsafe Self.store((p, q, e), to: s)
  }

  /// Keeps the states of a block's channels.
  @unsafe
  private func keep(
    _ lanes: UnsafeMutablePointer<Float>, _ channels: Int,
    in checkpoint: UnsafeMutablePointer<Float>
  ) {
    forEachVector(channels) { first in
      for kind in 0..<3 {
        unsafe Vector(loading: lanes + 3 * first, at: 8 * kind).store(
          to: checkpoint + kind * self.channels + first, at: 0, of: channels - first)
      }
    }
  }

  /// Gradients of one block of channels; that of its state goes on.
  @unsafe
  func backward(
    _ blocks: ChannelBlocks, _ block: Int, _ state: UnsafeMutablePointer<Float>,
    _ gradients: RWKV4Gradients, _ sums: MixerTensor, _ poll: Poll
  ) {
    let (sequence, range) = blocks[block]
    let length = 3 * paddedToVectors(range.count)
    var scratch = Scratch(count: length + 3 * Self.chunk * 8, parts: 2)
    let lanes = unsafe scratch.take(length)
    let states = unsafe scratch.take(3 * Self.chunk * 8)
    let ahead = RowsAhead(
      [k, v, o, gradients.k, gradients.v] + [r, gradients.r].compactMap { $0 },
      sequence: sequence, tokens: count, columns: range)
    unsafe spread(state, range.count, into: lanes)
    var totals = [Double](repeating: 0, count: 2 * range.count)
    let starts = Swift.stride(from: 0, to: count, by: Self.chunk)
    for start in starts.reversed() {
      let tokens = start..<min(start + Self.chunk, count)
      forEachVector(range.count) { first in
        let channel = range.lowerBound + first
        let s = unsafe lanes + 3 * first
        let part = unsafe chunk(
          tokens, sequence, channel, width: range.count - first, s, states, gradients
        ) { ahead.ask(for: $0 - Self.chunk, column: first) }
        for lane in 0..<min(8, range.count - first) {
          totals[first + lane] += Double(part.w[lane])
          totals[range.count + first + lane] += Double(part.u[lane])
        }
      }
      poll()
    }
    unsafe gather(lanes, range.count, into: state)
    for index in range.indices {
      let (lane, place) = (index - range.lowerBound, sequence * channels + index)
      unsafe sums.base[place] = Float(totals[lane])
      unsafe sums.base[sums.count / 2 + place] = Float(totals[range.count + lane])
    }
  }

  /// Eight channels of a chunk: states once more, then gradients from the last token to the first.
  ///
  /// - Parameter gradients: those of inputs; nil for the state's alone.
  @unsafe @inline(__always)
  func chunk(
    _ tokens: Range<Int>, _ sequence: Int, _ channel: Int, width: Int,
    _ s: UnsafeMutablePointer<Float>, _ states: UnsafeMutablePointer<Float>,
    _ gradients: RWKV4Gradients?, ask: (_ token: Int) -> Void
  ) -> (w: Vector, u: Vector) {
    let row = sequence * count * channels + channel
    let checkpoint = checkpointPlace(sequence, tokens.lowerBound / Self.chunk, channel)
    let (w, u) = unsafe (
      Vector(loading: w.base + channel, at: 0, of: width),
      Vector(loading: u.base + channel, at: 0, of: width)
    )
    unsafe keepStates(tokens, row, checkpoint, width, w, states)
    var (gp, gq, h) = unsafe Self.load(s)
    var (ofW, ofU) = (Vector.zero, Vector.zero)
    for (index, token) in tokens.enumerated().reversed() {
      ask(token)
      let p = unsafe Vector(loading: states, at: 24 * index)
      let q = unsafe Vector(loading: states, at: 24 * index + 8)
      let e = unsafe Vector(loading: states, at: 24 * index + 16)
      let place = row + token * channels
      let key = unsafe Vector(loading: k.base + place, at: 0, of: width)
      let value = unsafe Vector(loading: v.base + place, at: 0, of: width)
      var dy = unsafe Vector(loading: o.base + place, at: 0, of: width)
      let own = Meeting(e, u + key)
      let sum = own.a * q + own.b
      let y = (own.a * p).addingProduct(own.b, value) / sum
      if let r {
        let gate = unsafe sigmoid(Vector(loading: r.base + place, at: 0, of: width))
        if let dr = gradients?.r {
          unsafe (dy * y * gate * (Vector(repeating: 1) - gate)).store(
            to: dr.base + place, at: 0, of: width)
        }
        dy *= gate
      }
      let ofSum = dy / sum
      if let gradients {
        // By the token itself.
        let weight = own.b * ofSum
        let ofBonus = weight * (value - y)
        ofU += ofBonus
        // By the tokens after it.
        let later = exp(key + h)
        let ofKey = later * gp
        unsafe (weight + ofKey).store(to: gradients.v.base + place, at: 0, of: width)
        unsafe (ofBonus + ofKey * value + later * gq).store(
          to: gradients.k.base + place, at: 0, of: width)
        ofW.addProduct(exp(w + h + e), (gp * p).addingProduct(gq, q))
      }
      // The state before the token was read with the exponent −top.
      let next = Meeting(h + w, -own.top)
      gp = (next.a * gp).addingProduct(next.b, ofSum)
      gq = (next.a * gq) - next.b * ofSum * y
      h = next.top
    }
    unsafe Self.store((gp, gq, h), to: s)
    return (ofW, ofU)
  }

  /// The states of eight channels before each token of a chunk, once more.
  @unsafe @inline(__always)
  private func keepStates(
    _ tokens: Range<Int>, _ row: Int, _ checkpoint: Int, _ width: Int, _ w: Vector,
    _ states: UnsafeMutablePointer<Float>
  ) {
    guard let checkpoints else { preconditionFailure("a forward pass that keeps nothing") }
    let at = unsafe checkpoints.base + checkpoint
    var (p, q, e) = unsafe (
      Vector(loading: at, at: 0, of: width), Vector(loading: at + channels, at: 0, of: width),
      Vector(loading: at + 2 * channels, at: 0, of: width)
    )
    for (index, token) in tokens.enumerated() {
      unsafe p.store(to: states, at: 24 * index)
      unsafe q.store(to: states, at: 24 * index + 8)
      unsafe e.store(to: states, at: 24 * index + 16)
      let place = row + token * channels
      let key = unsafe Vector(loading: k.base + place, at: 0, of: width)
      let value = unsafe Vector(loading: v.base + place, at: 0, of: width)
      Self.advance(&p, &q, &e, key, value, w)
    }
  }

  /// The state of eight channels.
  @unsafe @inline(__always)
  static func load(_ s: UnsafeMutablePointer<Float>) -> (Vector, Vector, Vector) {
    unsafe (Vector(loading: s, at: 0), Vector(loading: s, at: 8), Vector(loading: s, at: 16))
  }

  @unsafe @inline(__always)
  static func store(_ state: (Vector, Vector, Vector), to s: UnsafeMutablePointer<Float>) {
    unsafe state.0.store(to: s, at: 0)
    unsafe state.1.store(to: s, at: 8)
    unsafe state.2.store(to: s, at: 16)
  }

  /// From three numbers a channel to three vectors for eight channels.
  @unsafe
  private func spread(
    _ state: UnsafeMutablePointer<Float>, _ channels: Int,
    into lanes: UnsafeMutablePointer<Float>
  ) {
    for channel in 0..<channels {
      let place = 24 * (channel / 8) + channel % 8
      for kind in 0..<3 { unsafe lanes[place + 8 * kind] = state[3 * channel + kind] }
    }
  }

  /// The way back.
  @unsafe
  func gather(
    _ lanes: UnsafeMutablePointer<Float>, _ channels: Int,
    into state: UnsafeMutablePointer<Float>
  ) {
    for channel in 0..<channels {
      let place = 24 * (channel / 8) + channel % 8
      for kind in 0..<3 { unsafe state[3 * channel + kind] = lanes[place + 8 * kind] }
    }
  }
}
