import Compute
import Tensors

/// What is kept of tokens and channels of an attention free transformer, `[batch, tokens, 3,
/// step]`.
///
/// That is the sum of weighted values and, when it is over, their mean; the sum of weights; and the
/// largest exponent, to which both are relative. The step is a multiple of a vector.
struct AFTMeans: Sendable {
  let rows: MixerTensor
  let step: Int
  private let batch: Int
  private let channels: Int
  private let count: Int

  /// An exponent below that of any weight.
  static let lowest: Float = -1e38

  init(_ mixer: AFT, tokens: Int, rows: MixerTensor? = nil) {
    (batch, channels, count) = (mixer.batch, mixer.channels, tokens)
    step = paddedToVectors(channels)
    self.rows = rows ?? Self.zeros("means", batch, tokens, 3 * step)
    guard rows == nil else { return }
    for row in 0..<batch * tokens {
      unsafe (self.rows.base + (row * 3 + 2) * step).update(repeating: Self.lowest, count: step)
    }
  }

  static func zeros(_ name: String, _ batch: Int, _ tokens: Int, _ columns: Int) -> MixerTensor {
    MixerTensor(
      zeros: TensorForm(
        name: name, dimensions: ["batch", "tokens", "columns"], sizes: [batch, 0, columns]),
      tokens: tokens)
  }

  /// The numbers of a token of a sequence.
  @unsafe
  func row(_ sequence: Int, _ token: Int) -> UnsafeMutablePointer<Float> {
    unsafe rows.base + (sequence * count + token) * 3 * step
  }

  private func forEachRow(
    on line: RankLine, _ body: @Sendable (_ row: Int, _ column: Int) -> Void
  ) {
    line.forEachSegment(units: batch) { sequence, tokens, _ in
      for token in tokens {
        forEachVector(channels) { body(sequence * count + token, $0) }
      }
    }
  }

  /// Divides, and writes the means times the logistic function of q.
  ///
  /// A token that has met nothing has 0.
  func finish(q: MixerTensor?, into o: MixerTensor, on line: RankLine) {
    forEachRow(on: line) { [self] row, column in
      let place = unsafe rows.base + row * 3 * step + column
      let weights = unsafe Vector(loading: place, at: step)
      let mean = unsafe (Vector(loading: place, at: 0) / weights)
        .replacing(with: Vector.zero, where: weights .== Vector.zero)
      unsafe mean.store(to: place, at: 0)
      let gate =
        q.map {
          sigmoid(unsafe Vector(loading: $0.base + row * channels, at: column, of: channels))
        } ?? Vector(repeating: 1)
      unsafe (mean * gate).store(to: o.base + row * channels, at: column, of: channels)
    }
  }

  /// What gradients are made of, and writes those of q.
  ///
  /// - Returns: `[batch, tokens, 3, step]`, the gradient of a mean by the sum of weights; that
  ///   times
  ///   the mean; and the largest exponent.
  func slopes(
    q: MixerTensor?, _ gradient: MixerTensor, ofQueries dq: MixerTensor?, on line: RankLine
  ) -> AFTMeans {
    let slopes = AFTMeans(
      sharing: self, Self.zeros("slopes", batch, count, 3 * step))
    forEachRow(on: line) { [self] row, column in
      let place = unsafe rows.base + row * 3 * step + column
      let target = unsafe slopes.rows.base + row * 3 * step + column
      let (mean, weights) = unsafe (
        Vector(loading: place, at: 0), Vector(loading: place, at: step)
      )
      var slope = unsafe Vector(
        loading: gradient.base + row * channels, at: column, of: channels)
      if let q, let dq {
        let gate = sigmoid(
          unsafe Vector(loading: q.base + row * channels, at: column, of: channels))
        let ofQuery = slope * mean * gate * (Vector(repeating: 1) - gate)
        unsafe ofQuery.store(to: dq.base + row * channels, at: column, of: channels)
        slope *= gate
      }
      slope = (slope / weights).replacing(with: Vector.zero, where: weights .== Vector.zero)
      unsafe slope.store(to: target, at: 0)
      unsafe (slope * mean).store(to: target, at: step)
      unsafe Vector(loading: place, at: 2 * step).store(to: target, at: 2 * step)
    }
    return slopes
  }

  private init(sharing other: AFTMeans, _ rows: MixerTensor) {
    self.rows = rows
    (step, batch, channels, count) = (other.step, other.batch, other.channels, other.count)
  }
}

/// Keys and values of tokens side by side, `[batch, tokens, 2, step]`, and their gradients
/// likewise.
enum AFTPairs {
  /// Puts them side by side.
  static func pack(_ mixer: AFT, _ x: MixerTensors, on line: RankLine) -> MixerTensor {
    let (channels, step) = (mixer.channels, paddedToVectors(mixer.channels))
    let rows = AFTMeans.zeros("pairs", mixer.batch, line.tokens, 2 * step)
    let (k, v) = (x["k"], x["v"])
    for row in 0..<mixer.batch * line.tokens {
      let target = unsafe rows.base + row * 2 * step
      unsafe target.update(from: k.base + row * channels, count: channels)
      unsafe (target + step).update(from: v.base + row * channels, count: channels)
    }
    return rows
  }

  /// Takes gradients apart.
  static func unpack(
    _ pairs: UnsafeMutablePointer<Float>, _ mixer: AFT, to gradients: MixerTensors,
    on line: RankLine
  ) {
    let (channels, step) = (mixer.channels, paddedToVectors(mixer.channels))
    let (dk, dv) = (gradients["dk"], gradients["dv"])
    for row in 0..<mixer.batch * line.tokens {
      let source = unsafe pairs + row * 2 * step
      unsafe (dk.base + row * channels).update(from: source, count: channels)
      unsafe (dv.base + row * channels).update(from: source + step, count: channels)
    }
  }
}
