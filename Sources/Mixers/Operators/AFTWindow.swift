import Compute
import MPI
import Sharding
import Tensors

/// An attention free transformer with weights of pairs that are near each other, or of none: a
/// state holds what is at least as far away as they reach, one before a token and, without a mask,
/// one after it; what is nearer is met pair by pair, with rows of the neighbouring ranks.
///
/// Nothing is subtracted, so that no digits are lost where the near tokens have nearly all weight.
struct AFTWindow {
  private let mixer: AFT
  private let w: MixerTensor?
  /// `[heads, window]` with a column for each channel: `[window, step]`.
  private let biases: MixerTensor?
  /// Keys and values of this rank's tokens and of those before and after: `[batch, rows, 2, step]`.
  private let pairs: MixerTensor
  private let step: Int
  private let count: Int
  private let start: Int
  private let blocks: ChannelBlocks
  /// Rows of neighbours before and after.
  private let width: Int
  private let after: Int

  private static let part = 256

  init(_ mixer: AFT, _ x: MixerTensors, on line: RankLine) throws(MPIError) {
    self.mixer = mixer
    w = x.find("w")
    step = paddedToVectors(mixer.channels)
    count = line.tokens
    start = line.runs.first?.start ?? 0
    blocks = ChannelBlocks(batch: mixer.batch, channels: step, on: line)
    width = mixer.reach - 1
    after = mixer.isCausal ? 0 : width
    biases = Self.widen(w, mixer, step)
    pairs = try Self.extend(
      AFTPairs.pack(mixer, x, on: line), before: width, after: after, on: line)
  }

  /// What ranks exchange.
  static func exchanges(
    _ mixer: AFT, backward: Bool, ranks: Int, threads: Int
  ) -> [MixerExchange] {
    let (step, width) = (paddedToVectors(mixer.channels), mixer.reach - 1)
    let (floats, after) = (mixer.batch * step, mixer.isCausal ? 0 : width)
    let blocks = ChannelBlocks(
      batch: mixer.batch, channels: step, ranks: ranks, threads: threads)
    let scan = MixerExchange.scan(units: blocks.count, floats: 3 * floats)
    let scans = mixer.isCausal ? [scan] : [scan, .reversed(scan)]
    // Keys and values side by side; backward their gradients as well, and the slopes of means.
    let pairs: [MixerExchange] = [
      .halo(rows: width, floats: 2 * floats), .haloAfter(rows: after, floats: 2 * floats),
    ]
    if !backward { return pairs + scans }
    let slopes: [MixerExchange] = [
      .halo(rows: mixer.isCausal ? 0 : width, floats: 3 * floats),
      .haloAfter(rows: width, floats: 3 * floats),
    ]
    let window = mixer.sizes.find("window") ?? 0
    let ofBiases: [MixerExchange] =
      if case .conv = mixer.variant { [.summary(floats: window * floats)] } else { [] }
    return (pairs + slopes).map { .reversed($0) } + ofBiases + pairs + scans
  }

  /// The weights of distances with a column for each channel; nil for other variants.
  private static func widen(_ w: MixerTensor?, _ mixer: AFT, _ step: Int) -> MixerTensor? {
    guard case .conv = mixer.variant, let w else { return nil }
    let window = mixer.sizes["window"]
    let table = MixerTensor(
      zeros: TensorForm(
        name: "biases", dimensions: ["window", "columns"], sizes: [window, step]), tokens: 0)
    let share = mixer.channels / mixer.sizes["heads"]
    for row in 0..<window {
      for channel in 0..<mixer.channels {
        unsafe table.base[row * step + channel] = w.base[channel / share * window + row]
      }
    }
    return table
  }

  /// Rows of this rank with those of its neighbours round them.
  private static func extend(
    _ rows: MixerTensor, before: Int, after: Int, on line: RankLine
  ) throws(MPIError) -> MixerTensor {
    if before == 0 && after == 0 { return rows }
    let (batch, columns, count) = (rows.form.sizes[0], rows.form.sizes[2], line.tokens)
    let all = AFTMeans.zeros("extended", batch, before + count + after, columns)
    let parts: [(tensor: MixerTensor, first: Int, rows: Int)] = [
      (try Halo(width: before).rows(of: rows, on: line), 0, before),
      (rows, before, count),
      (try Halo(width: after, isAfter: true).rows(of: rows, on: line), before + count, after),
    ]
    for sequence in 0..<batch {
      for part in parts {
        let to = (sequence * (before + count + after) + part.first) * columns
        unsafe (all.base + to).update(
          from: part.tensor.base + sequence * part.rows * columns, count: part.rows * columns)
      }
    }
    return all
  }

  private var pairRows: Int { width + count + after }

  /// Keys of some channels of a token, which may be a neighbour's: token 0 is this rank's first.
  @unsafe
  private func keys(_ sequence: Int, _ token: Int, _ channel: Int) -> UnsafeMutablePointer<Float> {
    unsafe pairs.base + (sequence * pairRows + width + token) * 2 * step + channel
  }

  /// The tokens that are near one, of those that there are.
  private func near(_ token: Int) -> Range<Int> {
    let last = mixer.isCausal ? token : min(token + width, mixer.tokens - 1 - start)
    return max(token - width, -start)..<last + 1
  }

  private func isToken(_ token: Int) -> Bool {
    (0..<mixer.tokens).contains(start + token)
  }

  /// What is added to the keys near a token, in eight channels.
  @unsafe
  private func bias(_ token: Int, _ near: Range<Int>, _ channel: Int) -> AFTKernel.Bias {
    guard let w else { return unsafe AFTKernel.Bias(none: pairs.base) }
    // Windows are given as wide as was asked for, which may be more than there are tokens.
    let distance = near.lowerBound - token + (mixer.variant.reach ?? 1) - 1
    if let biases {
      return unsafe AFTKernel.Bias(channels: biases.base + distance * step + channel, step: step)
    }
    let columns = mixer.sizes["keys"]
    let first = columns == mixer.tokens ? start + near.lowerBound : distance
    return unsafe AFTKernel.Bias(pairs: w.base + token * columns + first)
  }

  private func scan(isReverse: Bool) -> Scan {
    Scan(cuts: blocks.cuts(3), isReverse: isReverse)
  }

  /// States that have met nothing.
  private func states() -> MixerTensor {
    let states = MixerTensor(
      zeros: TensorForm(
        name: "states", dimensions: ["batch", "columns"], sizes: [mixer.batch, 3 * step]),
      tokens: 0)
    for block in 0..<blocks.count {
      let size = blocks[block].channels.count
      unsafe (states.base + blocks.cuts(3)[block] + 2 * size).update(
        repeating: AFTMeans.lowest, count: size)
    }
    return states
  }

  /// Takes tokens in their order, or against it, each with a state of those that are far before it.
  ///
  /// - Parameters:
  ///   - add: adds a token to a state.
  ///   - read: takes what a token sees of a state; `column` is the first of eight channels.
  private func pass(
    isReverse: Bool, on line: RankLine,
    add: @Sendable (_ sequence: Int, _ token: Int, _ column: Int, inout AFTKernel.Sums) -> Void,
    read: @Sendable (_ sequence: Int, _ token: Int, _ column: Int, AFTKernel.Sums) -> Void
  ) throws(MPIError) {
    let (count, reach) = (count, isReverse ? mixer.reach : -mixer.reach)
    try unsafe scan(isReverse: isReverse).run(states(), carried: nil, on: line) {
      [self] block, state, poll in
      let (sequence, range) = blocks[block]
      forEachVector(range.count) { offset in
        let place = unsafe state + offset
        var sums = unsafe AFTKernel.Sums(place, step: range.count)
        for index in 0..<count {
          let token = isReverse ? count - 1 - index : index
          if index > 0, isToken(token + reach) {
            add(sequence, token + reach, range.lowerBound + offset, &sums)
          }
          read(sequence, token, range.lowerBound + offset, sums)
          if index % Self.part == 0 { poll() }
        }
        let last = (isReverse ? -1 : count) + reach
        if isToken(last) { add(sequence, last, range.lowerBound + offset, &sums) }
        unsafe sums.store(to: place, step: range.count)
      }
    }
  }

  // MARK: Forward

  func forward(_ means: AFTMeans, on line: RankLine) throws(MPIError) {
    for isReverse in mixer.isCausal ? [false] : [false, true] {
      try pass(isReverse: isReverse, on: line) { [self] sequence, token, column, state in
        let row = unsafe keys(sequence, token, column)
        unsafe state.add(
          Vector(loading: row, at: step), Vector(repeating: 1), Vector(loading: row, at: 0))
      } read: { [self] sequence, token, column, state in
        let row = unsafe means.row(sequence, token) + column
        var sums = state
        if isReverse {
          let others = unsafe AFTKernel.Sums(row, step: step)
          sums.add(others.values, others.weights, others.top)
        } else {
          let near = near(token)
          unsafe AFTKernel.meet(
            &sums, keys(sequence, near.lowerBound, column), step: step, row: 2 * step,
            count: near.count, bias(token, near, column))
        }
        unsafe sums.store(to: row, step: step)
      }
    }
  }

  // MARK: Backward

  func backward(
    _ slopes: AFTMeans, to gradients: MixerTensors, on line: RankLine
  ) throws(MPIError) {
    let sums = AFTMeans.zeros("gradients", mixer.batch, pairRows, 2 * step)
    let dw = gradients.find("dw")
    try nearGradients(slopes, sums, to: dw, on: line)
    let own = try gatherNeighbours(sums, on: line)
    try farGradients(slopes, own, on: line)
    unsafe AFTPairs.unpack(own.base, mixer, to: gradients, on: line)
  }

  /// What tokens give to the keys and values near them, of this rank and of its neighbours.
  private func nearGradients(
    _ slopes: AFTMeans, _ sums: MixerTensor, to dw: MixerTensor?, on line: RankLine
  ) throws(MPIError) {
    let window = biases?.form.sizes[0] ?? 0
    let ofBiases = DoubleSums(count: mixer.batch * window * step)
    line.compute(blocks.count) { [self] block, poll in
      let (sequence, range) = blocks[block]
      var scratch = Scratch(count: window * 8, parts: 1)
      let part = unsafe scratch.take(window * 8)
      for channel in Swift.stride(from: range.lowerBound, to: range.upperBound, by: 8) {
        for first in Swift.stride(from: 0, to: count, by: Self.part) {
          unsafe part.update(repeating: 0, count: window * 8)
          for token in first..<min(first + Self.part, count) {
            let near = near(token)
            let slope = unsafe AFTKernel.Sums(slopes.row(sequence, token) + channel, step: step)
            let bias = unsafe bias(token, near, channel)
            let place = ((sequence * pairRows + width + near.lowerBound) * 2) * step + channel
            unsafe AFTKernel.meetBackward(
              slope, pairs.base + place, sums.base + place, step: step, row: 2 * step,
              count: near.count, bias,
              ofBias: biases == nil ? nil : part + 8 * distance(token, near))
          }
          for row in 0..<window {
            for lane in 0..<8 {
              unsafe ofBiases.add(
                part[row * 8 + lane], at: (sequence * window + row) * step + channel + lane)
            }
          }
          poll()
        }
      }
    }
    guard let dw else { return }
    if biases != nil {
      try combine(ofBiases, window, to: dw, on: line)
    } else {
      pairBiasGradients(slopes, to: dw, on: line)
    }
  }

  private func distance(_ token: Int, _ near: Range<Int>) -> Int {
    near.lowerBound - token + (mixer.variant.reach ?? 1) - 1
  }

  /// The gradients of weights of pairs.
  private func pairBiasGradients(_ slopes: AFTMeans, to dw: MixerTensor, on line: RankLine) {
    let columns = mixer.sizes["keys"]
    line.forEachSegment(units: 1) { [self] _, tokens, poll in
      for token in tokens {
        let near = near(token)
        let first =
          columns == mixer.tokens ? start + near.lowerBound : distance(token, near)
        let target = unsafe dw.base + token * columns + first
        for sequence in 0..<mixer.batch {
          for channel in Swift.stride(from: 0, to: step, by: 8) {
            let slope = unsafe AFTKernel.Sums(slopes.row(sequence, token) + channel, step: step)
            unsafe AFTKernel.addBiasGradients(
              slope, keys(sequence, near.lowerBound, channel), step: step, row: 2 * step,
              count: near.count, bias(token, near, channel), to: target)
          }
        }
        if token % Self.part == 0 { poll() }
      }
    }
  }

  /// The gradients of weights of distances: sums over tokens, sequences and channels of a head.
  private func combine(
    _ sums: DoubleSums, _ window: Int, to dw: MixerTensor, on line: RankLine
  ) throws(MPIError) {
    let all = MixerTensor(
      zeros: TensorForm(
        name: "sums", dimensions: ["batch", "window", "columns"],
        sizes: [mixer.batch, window, step]), tokens: 0)
    sums.store(to: all)
    try Summary.sum.combine(all, on: line)
    let share = mixer.channels / mixer.sizes["heads"]
    for head in 0..<mixer.sizes["heads"] {
      for row in 0..<window {
        var total = 0.0
        for sequence in 0..<mixer.batch {
          for channel in head * share..<(head + 1) * share {
            total += Double(unsafe all.base[(sequence * window + row) * step + channel])
          }
        }
        unsafe dw.base[head * window + row] = Float(total)
      }
    }
  }

  /// Gradients of this rank's keys and values, with what its neighbours have of them.
  private func gatherNeighbours(
    _ sums: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensor {
    if width == 0 { return sums }
    let columns = 2 * step
    let own = AFTMeans.zeros("own", mixer.batch, count, columns)
    let halos = [(0, width), (width + count, after)].map { first, rows in
      let halo = AFTMeans.zeros("halo", mixer.batch, rows, columns)
      for sequence in 0..<mixer.batch {
        unsafe (halo.base + sequence * rows * columns).update(
          from: sums.base + (sequence * pairRows + first) * columns, count: rows * columns)
      }
      return halo
    }
    for sequence in 0..<mixer.batch {
      unsafe (own.base + sequence * count * columns).update(
        from: sums.base + (sequence * pairRows + width) * columns, count: count * columns)
    }
    try Halo(width: width).addBack(halos[0], to: own, on: line)
    try Halo(width: after, isAfter: true).addBack(halos[1], to: own, on: line)
    return own
  }

  /// What the tokens that are far after a key give to it and, without a mask, those far before it.
  ///
  /// A state holds sums of slopes, relative to the largest of the negative exponents that they
  /// have.
  private func farGradients(
    _ slopes: AFTMeans, _ own: MixerTensor, on line: RankLine
  ) throws(MPIError) {
    let (before, behind) = (mixer.isCausal ? 0 : width, width)
    let rows = try Self.extend(slopes.rows, before: before, after: behind, on: line)
    let length = before + count + behind
    for isReverse in mixer.isCausal ? [true] : [true, false] {
      try pass(isReverse: isReverse, on: line) { [self] sequence, token, column, state in
        let place = ((sequence * length + before + token) * 3) * step + column
        let slope = unsafe AFTKernel.Sums(rows.base + place, step: step)
        // A token that has met nothing has no exponent.
        let top = (-slope.top).replacing(
          with: Vector(repeating: AFTMeans.lowest), where: slope.top .< Vector(repeating: -1e37))
        state.add(slope.values, slope.weights, top)
      } read: { [self] sequence, token, column, state in
        let row = unsafe keys(sequence, token, column)
        let weight = unsafe vanishingExp(Vector(loading: row, at: 0) + state.top)
        let ofValue = weight * state.values
        let ofKey = unsafe ofValue * Vector(loading: row, at: step) - weight * state.weights
        let target = unsafe own.base + (sequence * count + token) * 2 * step + column
        unsafe ofKey.add(to: target, at: 0)
        unsafe ofValue.add(to: target, at: step)
      }
    }
  }
}
