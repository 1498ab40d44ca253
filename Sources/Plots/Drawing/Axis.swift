import Glibc

/// An axis, and what is to be seen on it.
struct Axis {
  var title: String
  var scale = Scale.linear
  var ticks = Ticks.round
  /// How a tick's value is written.
  var format: (Double) -> String = plainNumber
  /// Ends that are fixed; nil where the data decides.
  var lower: Double?
  var upper: Double?

  enum Scale {
    case linear, logarithmic
  }

  enum Ticks {
    /// Round numbers.
    case round
    /// Powers of two.
    case doublings
    /// These values, as far as there is room.
    case at([Double])
    /// Names of the places 0, 1, 2, …; of several lines, if need be.
    case names([String])
  }

  /// An axis whose ends and ticks are known.
  struct Resolved {
    let scale: Scale
    let range: ClosedRange<Double>
    let ticks: [(value: Double, label: String)]
    /// Grid lines without labels.
    let minor: [Double]

    /// Where a value lies, from 0 at the lower end to 1 at the upper.
    func fraction(_ value: Double) -> Double {
      switch scale {
      case .linear: (value - range.lowerBound) / (range.upperBound - range.lowerBound)
      case .logarithmic:
        log(value / range.lowerBound) / log(range.upperBound / range.lowerBound)
      }
    }
  }

  /// - Parameters:
  ///   - values: what is drawn.
  ///   - length: of the axis, in pixels.
  ///   - room: how many pixels a label takes along the axis.
  func resolved(
    for values: [Double], length: Double, room: (String) -> Double
  ) -> Resolved {
    let range = range(for: values)
    var ticks: [(value: Double, label: String)] = []
    var minor: [Double] = []
    switch (self.ticks, scale) {
    case (.names(let names), _):
      ticks = names.enumerated().map { (Double($0), $1) }
    case (.at(let places), _):
      ticks = Set(places).sorted().map { ($0, format($0)) }
    case (.doublings, _) where range.upperBound >= 4 * range.lowerBound:
      let first = Int(log2(range.lowerBound).rounded(.up))
      let last = Int(log2(range.upperBound).rounded(.down))
      let step = max(1, (last - first + 8) / 8)
      ticks = stride(from: first, through: max(first, last), by: step).map {
        (exp2(Double($0)), format(exp2(Double($0))))
      }
    case (_, .logarithmic) where range.upperBound < 4 * range.lowerBound:
      ticks = steps(in: range)
    case (_, .logarithmic): (ticks, minor) = decades(in: range)
    case (_, .linear): ticks = steps(in: range)
    }
    let inside = ticks.filter { range.contains($0.value) }
    let bare = Resolved(scale: scale, range: range, ticks: [], minor: [])
    return Resolved(
      scale: scale, range: range,
      ticks: thinned(inside, room: room) { bare.fraction($0) * length }, minor: minor)
  }

  private func range(for values: [Double]) -> ClosedRange<Double> {
    if case .names(let names) = ticks { return -0.6...Double(names.count) - 0.4 }
    let usable = values.filter { $0.isFinite && (scale == .linear || $0 > 0) }
    let first = usable.min() ?? 1
    let last = usable.max() ?? 1
    switch scale {
    case .linear:
      let margin = max(last - first, abs(last) * 0.1, 1e-12) * 0.06
      let low = lower ?? first - margin
      return low...max(upper ?? last + margin, low + 1e-12)
    case .logarithmic:
      // One value gets room on both sides.
      let margin = last > first ? pow(last / first, 0.06) : 2
      let low = lower ?? first / margin
      return low...max(upper ?? last * margin, low * 1.01)
    }
  }

  /// Powers of ten; also twice and five times them where there are few.
  private func decades(
    in range: ClosedRange<Double>
  ) -> (ticks: [(value: Double, label: String)], minor: [Double]) {
    let first = Int(log10(range.lowerBound).rounded(.down))
    let last = Int(log10(range.upperBound).rounded(.up))
    let span = log10(range.upperBound / range.lowerBound)
    let step = max(1, Int((span / 9).rounded(.up)))
    let digits: [Double] = span < 3.2 ? [1, 2, 5] : [1]
    var ticks: [(value: Double, label: String)] = []
    var minor: [Double] = []
    for exponent in first...max(first, last) {
      // The quotient of powers of ten is nearer to what people write than a negative power.
      let power = exponent < 0 ? 1 / pow(10, Double(-exponent)) : pow(10, Double(exponent))
      for digit in digits where (exponent - first) % step == 0 {
        ticks.append((digit * power, format(digit * power)))
      }
      if digits.count == 1, step == 1 { minor += (2...9).map { Double($0) * power } }
    }
    return (ticks, minor.filter(range.contains))
  }

  private func steps(in range: ClosedRange<Double>) -> [(value: Double, label: String)] {
    let length = range.upperBound - range.lowerBound
    let power = pow(10, log10(length / 5).rounded(.down))
    let step = power * ([1, 2, 5, 10].first { length / (power * $0) <= 7 } ?? 10)
    let first = Int((range.lowerBound / step).rounded(.up))
    let last = Int((range.upperBound / step + 1e-9).rounded(.down))
    return (first...max(first, last)).map { (Double($0) * step, format(Double($0) * step)) }
  }

  /// Leaves out labels that would touch the one before; the first and the last stay.
  private func thinned(
    _ ticks: [(value: Double, label: String)], room: (String) -> Double,
    position: (Double) -> Double
  ) -> [(value: Double, label: String)] {
    if case .names = self.ticks { return ticks }
    guard let last = ticks.last else { return [] }
    func touch(_ a: (value: Double, label: String), _ b: (value: Double, label: String)) -> Bool {
      position(b.value) - position(a.value) < (room(a.label) + room(b.label)) / 2 + 6
    }
    var kept: [(value: Double, label: String)] = []
    for tick in ticks.dropLast() where kept.last.map({ !touch($0, tick) }) ?? true {
      kept.append(tick)
    }
    while kept.count > 1, let end = kept.last, touch(end, last) { kept.removeLast() }
    if let end = kept.last, touch(end, last) { return [last] }
    return kept + [last]
  }
}
