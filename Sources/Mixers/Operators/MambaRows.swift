import Compute
import Tensors

/// The loops of Mamba's selective scan: eight channels side by side, token by token.
struct MambaRows {
  let u: MixerTensor
  let delta: MixerTensor
  let a: MixerTensor
  let b: MixerTensor
  let c: MixerTensor
  private let d: MixerTensor
  let z: MixerTensor?
  private let bias: MixerTensor?
  /// Outputs; backward the gradient of these.
  let o: MixerTensor
  let count: Int
  let channels: Int
  let states: Int
  private let takesSoftplus: Bool
  /// `[batch, chunks, channels, state]`: states before each chunk.
  let checkpoints: MixerTensor?

  /// Tokens of which states are there at a time.
  static let chunk = 64

  /// - Parameter u: x, or what the convolution has made of it.
  init(
    _ mixer: Mamba, _ x: MixerTensors, u: MixerTensor, o: MixerTensor, tokens: Int, keeping: Bool,
    checkpoints: MixerTensor? = nil
  ) {
    (self.u, delta, a, b, c, d) = (u, x["delta"], x["a"], x["b"], x["c"], x["d"])
    (z, bias, self.o) = (x.find("z"), x.find("delta_bias"), o)
    (count, channels, states) = (tokens, mixer.channels, mixer.states)
    takesSoftplus = mixer.softplus
    self.checkpoints =
      keeping
      ? MixerTensor(
        zeros: TensorForm(
          name: "checkpoints", dimensions: ["batch", "chunks", "channels", "state"],
          sizes: [
            mixer.batch, (tokens + Self.chunk - 1) / Self.chunk, mixer.channels, mixer.states,
          ]), tokens: 0) : checkpoints
  }

  private var chunks: Int { (count + Self.chunk - 1) / Self.chunk }

  /// Step sizes, and what their derivative is by what they are made of.
  @unsafe @inline(__always)
  func step(
    _ place: Int, _ channel: Int, _ lanes: Int
  ) -> (step: Vector, slope: Vector) {
    var raw = unsafe Vector(loading: delta.base + place, at: 0, of: lanes)
    if let bias { raw += unsafe Vector(loading: bias.base + channel, at: 0, of: lanes) }
    return takesSoftplus ? (softplus(raw), sigmoid(raw)) : (raw, Vector(repeating: 1))
  }

  // MARK: Forward

  /// Outputs of one block of channels; its state goes on.
  @unsafe
  func forward(
    _ blocks: ChannelBlocks, _ block: Int, _ state: UnsafeMutablePointer<Float>, _ poll: Poll
  ) {
    let (sequence, range) = blocks[block]
    let length = paddedToVectors(range.count) * states
    var scratch = Scratch(count: 2 * length, parts: 2)
    let (h, rates) = unsafe (scratch.take(length), scratch.take(length))
    unsafe spread(state, range.count, into: h)
    unsafe spread(a.base + range.lowerBound * states, range.count, into: rates)
    let ahead = RowsAhead(
      [u, delta, o] + [z].compactMap { $0 }, sequence: sequence, tokens: count, columns: range)
    for start in Swift.stride(from: 0, to: count, by: Self.chunk) {
      let tokens = start..<min(start + Self.chunk, count)
      if let checkpoints {
        let place =
          ((sequence * chunks + start / Self.chunk) * channels + range.lowerBound) * states
        unsafe gather(h, range.count, into: checkpoints.base + place)
      }
      forEachVector(range.count) { first in
        unsafe chunk(
          tokens, sequence, range.lowerBound + first, range.count - first, h + first * states,
          rates + first * states
        ) { ahead.ask(for: $0 + Self.chunk, column: first) }
      }
      poll()
    }
    unsafe gather(h, range.count, into: state)
  }

  /// Eight channels of a chunk.
  @unsafe @inline(__always)
  private func chunk(
    _ tokens: Range<Int>, _ sequence: Int, _ channel: Int, _ lanes: Int,
    _ h: UnsafeMutablePointer<Float>, _ rates: UnsafeMutablePointer<Float>,
    ask: (_ token: Int) -> Void
  ) {
    let skip = unsafe Vector(loading: d.base + channel, at: 0, of: lanes)
    for token in tokens {
      ask(token)
      let row = sequence * count + token
      let place = row * channels + channel
      let step = unsafe step(place, channel, lanes).step
      let x = unsafe Vector(loading: u.base + place, at: 0, of: lanes)
      let input = step * x
      let (b, c) = unsafe (b.base + row * states, c.base + row * states)
      var (y0, y1) = (skip * x, Vector.zero)
      var n = 0
      while n + 2 <= states {
        unsafe advance(h + 8 * n, rates + 8 * n, step, input, b[n], c[n], &y0)
        unsafe advance(h + 8 * n + 8, rates + 8 * n + 8, step, input, b[n + 1], c[n + 1], &y1)
        n += 2
      }
      if n < states { unsafe advance(h + 8 * n, rates + 8 * n, step, input, b[n], c[n], &y0) }
      var y = y0 + y1
      if let z {
        let gate = unsafe Vector(loading: z.base + place, at: 0, of: lanes)
        y *= gate * sigmoid(gate)
      }
      unsafe y.store(to: o.base + place, at: 0, of: lanes)
    }
  }

  @unsafe @inline(__always)
  private func advance(
    _ h: UnsafeMutablePointer<Float>, _ rate: UnsafeMutablePointer<Float>, _ step: Vector,
    _ input: Vector, _ b: Float, _ c: Float, _ y: inout Vector
  ) {
    let decay = unsafe exp(step * Vector(loading: rate, at: 0))
    let next = unsafe (input * Vector(repeating: b)).addingProduct(
      decay, Vector(loading: h, at: 0))
    unsafe next.store(to: h, at: 0)
    y.addProduct(next, Vector(repeating: c))
  }

  // MARK: Backward

  /// Gradients of one block of channels; that of its state goes on.
  @unsafe
  func backward(
    _ blocks: ChannelBlocks, _ block: Int, _ state: UnsafeMutablePointer<Float>,
    _ back: MambaGradients, _ poll: Poll
  ) {
    guard let checkpoints else { preconditionFailure("a forward pass that keeps nothing") }
    let (sequence, range) = blocks[block]
    let length = paddedToVectors(range.count) * states
    var scratch = Scratch(
      count: 4 * length + (4 * Self.chunk + 1) * states * 8, parts: 8)
    let (dh, rates) = unsafe (scratch.take(length), scratch.take(length))
    let (first, ofRates) = unsafe (scratch.take(length), scratch.take(length))
    let work = unsafe MambaChunk(
      h: scratch.take((Self.chunk + 1) * states * 8),
      decays: scratch.take(Self.chunk * states * 8), b: scratch.take(Self.chunk * states * 8),
      c: scratch.take(Self.chunk * states * 8))
    unsafe spread(state, range.count, into: dh)
    unsafe spread(a.base + range.lowerBound * states, range.count, into: rates)
    var sums = [SIMD8<Double>](repeating: .zero, count: 2 * length / (8 * states))
    var totals = [Double](repeating: 0, count: range.count * states)
    let starts = Swift.stride(from: 0, to: count, by: Self.chunk)
    let ahead = RowsAhead(
      [u, delta, o, back.input, back.delta] + [z, back.z].compactMap { $0 }, sequence: sequence,
      tokens: count, columns: range)
    for start in starts.reversed() {
      let tokens = start..<min(start + Self.chunk, count)
      let place = ((sequence * chunks + start / Self.chunk) * channels + range.lowerBound) * states
      unsafe spread(checkpoints.base + place, range.count, into: first)
      work.clearShares(tokens.count * states * 8)
      unsafe ofRates.update(repeating: 0, count: length)
      forEachVector(range.count) { lane in
        unsafe (work.h).update(from: first + lane * states, count: 8 * states)
        let (channel, lanes) = (range.lowerBound + lane, range.count - lane)
        unsafe states(tokens, sequence, channel, lanes, rates + lane * states, work) {
          ahead.ask(for: $0 - Self.chunk, column: lane)
        }
        let part = unsafe gradients(
          tokens, sequence, channel, lanes, rates + lane * states, dh + lane * states,
          ofRates + lane * states, work, back)
        sums[lane / 4] += part.skip.doubles
        sums[lane / 4 + 1] += part.bias.doubles
      }
      back.add(work, tokens, sequence, blocks.number(block), blocks.blocksPerSequence)
      for index in totals.indices {
        let (channel, n) = index.quotientAndRemainder(dividingBy: states)
        totals[index] += unsafe Double(ofRates[channel / 8 * 8 * states + 8 * n + channel % 8])
      }
      poll()
    }
    unsafe gather(dh, range.count, into: state)
    back.store(totals, sums, sequence, range)
  }

  /// The states and decays of a chunk's tokens once more.
  @unsafe @inline(__always)
  private func states(
    _ tokens: Range<Int>, _ sequence: Int, _ channel: Int, _ lanes: Int,
    _ rates: UnsafeMutablePointer<Float>, _ work: MambaChunk, ask: (_ token: Int) -> Void
  ) {
    for (index, token) in tokens.enumerated() {
      ask(token)
      let row = sequence * count + token
      let place = row * channels + channel
      let step = unsafe step(place, channel, lanes).step
      let input = unsafe step * Vector(loading: u.base + place, at: 0, of: lanes)
      let b = unsafe b.base + row * states
      let at = index * states * 8
      for n in 0..<states {
        let decay = unsafe exp(step * Vector(loading: rates, at: 8 * n))
        unsafe decay.store(to: work.decays, at: at + 8 * n)
        let next = unsafe (input * Vector(repeating: b[n])).addingProduct(
          decay, Vector(loading: work.h, at: at + 8 * n))
        unsafe next.store(to: work.h, at: at + 8 * (states + n))
      }
    }
  }

  /// Gradients of eight channels of a chunk, from the last token to the first.
  @unsafe @inline(__always)
  private func gradients(
    _ tokens: Range<Int>, _ sequence: Int, _ channel: Int, _ lanes: Int,
    _ rates: UnsafeMutablePointer<Float>, _ dh: UnsafeMutablePointer<Float>,
    _ ofRates: UnsafeMutablePointer<Float>, _ work: MambaChunk, _ back: MambaGradients
  ) -> (skip: Vector, bias: Vector) {
    let skip = unsafe Vector(loading: d.base + channel, at: 0, of: lanes)
    var (ofSkip, ofBias) = (Vector.zero, Vector.zero)
    for (index, token) in tokens.enumerated().reversed() {
      let row = sequence * count + token
      let place = row * channels + channel
      let (step, slope) = unsafe step(place, channel, lanes)
      let x = unsafe Vector(loading: u.base + place, at: 0, of: lanes)
      let (b, c) = unsafe (b.base + row * states, c.base + row * states)
      let at = index * states * 8
      var dy = unsafe Vector(loading: o.base + place, at: 0, of: lanes)
      if let z, let dz = back.z {
        var y = skip * x
        for n in 0..<states {
          unsafe y.addProduct(
            Vector(loading: work.h, at: at + 8 * (states + n)), Vector(repeating: c[n]))
        }
        let gate = unsafe Vector(loading: z.base + place, at: 0, of: lanes)
        let s = sigmoid(gate)
        let slope = s.addingProduct(gate * s, Vector(repeating: 1) - s)
        unsafe (dy * y * slope).store(to: dz.base + place, at: 0, of: lanes)
        dy *= gate * s
      }
      let input = step * x
      var (ofStep, ofInput) = (Vector.zero, Vector.zero)
      for n in 0..<states {
        let now = unsafe Vector(loading: work.h, at: at + 8 * (states + n))
        let before = unsafe Vector(loading: work.h, at: at + 8 * n)
        let decay = unsafe Vector(loading: work.decays, at: at + 8 * n)
        let g = unsafe Vector(loading: dh, at: 8 * n).addingProduct(dy, Vector(repeating: c[n]))
        unsafe (dy * now).add(to: work.c, at: at + 8 * n)
        unsafe (g * input).add(to: work.b, at: at + 8 * n)
        let handed = g * decay
        let ofDecay = handed * before
        unsafe ofStep.addProduct(ofDecay, Vector(loading: rates, at: 8 * n))
        unsafe (ofDecay * step).add(to: ofRates, at: 8 * n)
        unsafe ofInput.addProduct(g, Vector(repeating: b[n]))
        unsafe handed.store(to: dh, at: 8 * n)
      }
      ofSkip.addProduct(dy, x)
      let ofRaw = ofStep.addingProduct(ofInput, x) * slope
      ofBias += ofRaw
      unsafe ofRaw.store(to: back.delta.base + place, at: 0, of: lanes)
      let ofX = (ofInput * step).addingProduct(dy, skip)
      unsafe ofX.store(to: back.input.base + place, at: 0, of: lanes)
    }
    return (ofSkip, ofBias)
  }

  // MARK: States

  /// From `[channels, state]` to vectors of eight channels.
  @unsafe
  func spread(
    _ state: UnsafeMutablePointer<Float>, _ channels: Int,
    into lanes: UnsafeMutablePointer<Float>
  ) {
    for channel in 0..<channels {
      let place = channel / 8 * 8 * states + channel % 8
      for n in 0..<states { unsafe lanes[place + 8 * n] = state[channel * states + n] }
    }
  }

  /// The way back.
  @unsafe
  func gather(
    _ lanes: UnsafeMutablePointer<Float>, _ channels: Int,
    into state: UnsafeMutablePointer<Float>
  ) {
    for channel in 0..<channels {
      let place = channel / 8 * 8 * states + channel % 8
      for n in 0..<states { unsafe state[channel * states + n] = lanes[place + 8 * n] }
    }
  }
}
