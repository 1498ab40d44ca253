import Tensors

extension RankLine {
  /// Tokens that one thread takes at a time, where each can be taken by itself.
  static let segment = 4096

  private func segments(_ count: Int) -> Int { (count + Self.segment - 1) / Self.segment }

  /// Computes segments of this rank's tokens of all units, each by itself, on all threads.
  func forEachSegment(
    units: Int, _ body: @Sendable (_ unit: Int, _ tokens: Range<Int>, _ poll: Poll) -> Void
  ) {
    let (count, segments) = (tokens, segments(tokens))
    compute(units * segments) { index, poll in
      // Units one after the other: neighbours lie side by side in memory.
      let (segment, unit) = index.quotientAndRemainder(dividingBy: units)
      body(unit, segment * Self.segment..<min((segment + 1) * Self.segment, count), poll)
    }
  }

  /// Adds up numbers over this rank's tokens, segment by segment, which are then added in order and
  /// in `Double`: the bits do not depend on the number of threads.
  ///
  /// - Parameters:
  ///   - units: each has sums of its own.
  ///   - sums: `[units, length]`.
  ///   - rest: likewise, gets what a float does not hold of the sums; nil is not asked for.
  ///   - body: adds what some tokens of a unit have to zeros.
  func addUp(
    units: Int, to sums: MixerTensor, rest: MixerTensor? = nil,
    _ body:
      @Sendable (
        _ unit: Int, _ tokens: Range<Int>, _ sums: UnsafeMutablePointer<Double>, _ poll: Poll
      ) -> Void
  ) {
    let segments = segments(tokens)
    if segments == 0 || units == 0 { return }
    let length = sums.count / units
    let parts = AlignedBuffer<Double>(zeros: segments * sums.count)
    nonisolated(unsafe) let base = unsafe parts.unsafeBaseAddress
    forEachSegment(units: units) { unit, tokens, poll in
      let place = (tokens.lowerBound / Self.segment * units + unit) * length
      unsafe body(unit, tokens, base + place, poll)
    }
    for index in 0..<sums.count {
      var total = 0.0
      for segment in 0..<segments { unsafe total += base[segment * sums.count + index] }
      unsafe sums.base[index] = Float(total)
      if let rest { unsafe rest.base[index] = Float(total - Double(sums.base[index])) }
    }
    _ = parts.count
  }
}
