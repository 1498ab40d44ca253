import Compute
import MPI
import Tensors

/// `silu(Σ_j weight_j x_{t − (width − 1) + j} + bias)`, channel by channel: a causal convolution
/// over a few tokens, whose rows before a rank's first token are a halo.
package struct ShortConvolution {
  /// `[batch, tokens, channels]`.
  let x: MixerTensor
  /// `[channels, width]`.
  let weight: MixerTensor
  /// `[channels]`.
  let bias: MixerTensor?
  let blocks: ChannelBlocks

  private var width: Int { weight.form.sizes[1] }
  private var channels: Int { blocks.channels }

  /// The rows before this rank's first token, called by all ranks together.
  ///
  /// - Parameter before: `[batch, channels, width − 1]`, those before the first of the sequence;
  ///   nil is zeros.
  func halo(before: MixerTensor?, on line: RankLine) throws(MPIError) -> MixerTensor {
    let halo = try Halo(width: width - 1).rows(of: x, on: line)
    let start = line.runs.first?.start ?? 0
    guard let before, start < width - 1 else { return halo }
    // Of the rows before the sequence, the last ones come first in time.
    for sequence in 0..<blocks.batch {
      for row in 0..<width - 1 - start {
        for channel in 0..<channels {
          let place = (sequence * (width - 1) + row) * channels + channel
          unsafe halo.base[place] =
            before.base[(sequence * channels + channel) * (width - 1) + row + start]
        }
      }
    }
    return halo
  }

  /// What a next sequence starts from: the rows before it.
  static func stateForm(batch: Int, channels: Int, width: Int) -> TensorForm {
    TensorForm(
      name: "conv_state", dimensions: ["batch", "channels", "before"],
      sizes: [batch, channels, width - 1])
  }

  /// The last rows of x that this rank knows of: on the last rank what a next sequence starts from.
  func lastRows(_ halo: MixerTensor, on line: RankLine) -> MixerTensor {
    let last = MixerTensor(
      zeros: Self.stateForm(batch: blocks.batch, channels: channels, width: width), tokens: 0)
    let (width, count) = (width - 1, line.tokens)
    for sequence in 0..<blocks.batch {
      for row in 0..<width {
        let token = count - width + row
        let source =
          unsafe token >= 0
          ? x.base + (sequence * count + token) * channels
          : halo.base + (sequence * width + width + token) * channels
        for channel in 0..<channels {
          unsafe last.base[(sequence * channels + channel) * width + row] = source[channel]
        }
      }
    }
    return last
  }

  /// Computes this rank's tokens.
  ///
  /// - Returns: `[batch, tokens, channels]`.
  func forward(_ halo: MixerTensor, on line: RankLine) -> MixerTensor {
    let y = MixerTensor(zeros: x.form, tokens: line.tokens)
    let count = line.tokens
    line.forEachSegment(units: blocks.count) { block, tokens, poll in
      unsafe forEach(block, count, tokens, halo) { place, sum, width in
        unsafe (sum * sigmoid(sum)).store(to: y.base + place, at: 0, of: width)
      }
      poll()
    }
    return y
  }

  /// The gradients of x, weights and bias.
  ///
  /// - Parameters:
  ///   - gradient: that of what was computed; is overwritten.
  ///   - dx: is added to.
  ///   - sums: `[width + 1, batch · channels]`: gets this rank's part of those of weights and bias.
  /// - Returns: the gradient of the halo.
  func backward(
    _ halo: MixerTensor, _ gradient: MixerTensor, dx: MixerTensor, sums: MixerTensor,
    on line: RankLine
  ) throws(MPIError) -> MixerTensor {
    let count = line.tokens
    let ofHalo = MixerTensor(zeros: halo.form, tokens: 0)
    line.forEachSegment(units: blocks.count) { block, tokens, poll in
      unsafe forEach(block, count, tokens, halo) { place, sum, width in
        let s = sigmoid(sum)
        let slope = s.addingProduct(sum * s, Vector(repeating: 1) - s)
        let g = unsafe Vector(loading: gradient.base + place, at: 0, of: width) * slope
        unsafe g.store(to: gradient.base + place, at: 0, of: width)
      }
      poll()
    }
    line.compute(blocks.count) { block, poll in
      unsafe spread(block, count, halo, gradient, dx, ofHalo, sums)
      poll()
    }
    try Halo(width: width - 1).addBack(ofHalo, to: dx, on: line)
    return ofHalo
  }

  /// Calls `body` with the place of eight channels of each token, and what is convolved there.
  @unsafe @inline(__always)
  private func forEach(
    _ block: Int, _ count: Int, _ tokens: Range<Int>, _ halo: MixerTensor,
    _ body: (_ place: Int, _ sum: Vector, _ width: Int) -> Void
  ) {
    let (sequence, range) = blocks[block]
    let taps = width
    var scratch = Scratch(count: paddedToVectors(range.count) * (taps + 1), parts: 1)
    let weights = unsafe scratch.take(paddedToVectors(range.count) * (taps + 1))
    unsafe gatherWeights(range, into: weights)
    for token in tokens {
      forEachVector(range.count) { first in
        let channel = range.lowerBound + first
        let lanes = range.count - first
        let w = unsafe weights + first * (taps + 1)
        var sum = unsafe Vector(loading: w, at: 8 * taps)
        for tap in 0..<taps {
          let source = unsafe row(token - (taps - 1 - tap), sequence, count, halo)
          unsafe sum.addProduct(
            Vector(loading: w, at: 8 * tap), Vector(loading: source + channel, at: 0, of: lanes))
        }
        body((sequence * count + token) * channels + channel, sum, lanes)
      }
    }
  }

  /// A row of x, or of the halo.
  @unsafe @inline(__always)
  private func row(
    _ token: Int, _ sequence: Int, _ count: Int, _ halo: MixerTensor
  ) -> UnsafeMutablePointer<Float> {
    unsafe token >= 0
      ? x.base + (sequence * count + token) * channels
      : halo.base + (sequence * (width - 1) + width - 1 + token) * channels
  }

  /// Weights of eight channels side by side, then their biases.
  @unsafe
  private func gatherWeights(
    _ range: Range<Int>, into weights: UnsafeMutablePointer<Float>
  ) {
    for (index, channel) in range.enumerated() {
      let place = index / 8 * 8 * (width + 1) + index % 8
      for tap in 0..<width {
        unsafe weights[place + 8 * tap] = weight.base[channel * width + tap]
      }
      if let bias { unsafe weights[place + 8 * width] = bias.base[channel] }
    }
  }

  /// What the gradients of a block's sums are for x before them, and for weights.
  @unsafe
  private func spread(
    _ block: Int, _ count: Int, _ halo: MixerTensor, _ gradient: MixerTensor, _ dx: MixerTensor,
    _ ofHalo: MixerTensor, _ sums: MixerTensor
  ) {
    let (sequence, range) = blocks[block]
    let taps = width
    var scratch = Scratch(count: paddedToVectors(range.count) * (taps + 1), parts: 1)
    let weights = unsafe scratch.take(paddedToVectors(range.count) * (taps + 1))
    unsafe gatherWeights(range, into: weights)
    var totals = [SIMD8<Double>](repeating: .zero, count: (taps + 1) * ((range.count + 7) / 8))
    for token in 0..<count {
      forEachVector(range.count) { first in
        let (channel, lanes) = (range.lowerBound + first, range.count - first)
        let w = unsafe weights + first * (taps + 1)
        let place = (sequence * count + token) * channels + channel
        let g = unsafe Vector(loading: gradient.base + place, at: 0, of: lanes)
        let total = first / 8 * (taps + 1)
        totals[total + taps] += SIMD8<Double>(g)
        for tap in 0..<taps {
          let other = token - (taps - 1 - tap)
          let source = unsafe row(other, sequence, count, halo)
          let value = unsafe Vector(loading: source + channel, at: 0, of: lanes)
          totals[total + tap] += SIMD8<Double>(g * value)
          let target =
            unsafe other >= 0
            ? dx.base + (sequence * count + other) * channels
            : ofHalo.base + (sequence * (taps - 1) + taps - 1 + other) * channels
          var sum = unsafe Vector(loading: target + channel, at: 0, of: lanes)
          unsafe sum.addProduct(g, Vector(loading: w, at: 8 * tap))
          unsafe sum.store(to: target + channel, at: 0, of: lanes)
        }
      }
    }
    for (index, channel) in range.enumerated() {
      for tap in 0...taps {
        let total = totals[index / 8 * (taps + 1) + tap][index % 8]
        unsafe sums.base[(tap * blocks.batch + sequence) * channels + channel] = Float(total)
      }
    }
  }
}
