import Tensors

/// What of a run is seen from somewhere: parts that are hidden, and others.
///
/// It is found by asking whether stretches are hidden, which is true of all that lies inside of a
/// hidden one. Nothing is taken for hidden that was not asked about.
struct Sight {
  /// In ascending order all of the run, in units.
  private var parts: [Part] = []
  private let unit: Int
  /// Units of the shortest part that is worth a cut.
  private let least: Int

  private struct Part {
    let units: Range<Int>
    let isHidden: Bool
  }

  /// Where, as indices in the run, parts meet.
  var cuts: [Int] { parts.dropFirst().map { $0.units.lowerBound * unit } }

  /// Looks for hidden stretches: at both ends, and between what is seen there, where one is at
  /// least about as long as it is away from an end.
  ///
  /// - Parameters:
  ///   - unit: tokens at multiples of which the run may be cut.
  ///   - least: tokens of the shortest stretch that is worth a cut.
  ///   - isHidden: whether nothing of a part is seen.
  /// - Complexity: O(log n) questions.
  init(of run: PositionRange, unit: Int, least: Int, isHidden: (PositionRange) -> Bool) {
    self.unit = unit
    self.least = max(1, least / unit)
    let count = (run.count + unit - 1) / unit
    func isHiddenPart(_ units: Range<Int>) -> Bool { isHidden(run.slice(units, unit: unit)) }
    if count <= self.least {
      add(0..<count, isHidden: false)
      return
    }
    let start = isHiddenPart(0..<self.least) ? Self.firstSeen(in: 0..<count, isHiddenPart) : 0
    let tail = max(start + 1, count - self.least)..<count
    let end =
      tail.count == self.least && isHiddenPart(tail)
      ? Self.lastSeen(in: start..<count, isHiddenPart) + 1 : count
    add(0..<start, isHidden: true)
    addSeen(start..<end, depth: 3, isHiddenPart)
    add(end..<count, isHidden: true)
  }

  /// Whether parts of the same run that are hidden from somewhere else end where these do.
  ///
  /// It asks about their ends, not whether there are others.
  func isSame(_ run: PositionRange, isHidden: (PositionRange) -> Bool) -> Bool {
    parts.indices.allSatisfy { index in
      let units = parts[index].units
      if parts[index].isHidden { return isHidden(run.slice(units, unit: unit)) }
      let ends = (index > 0, index + 1 < parts.count)
      let first = units.lowerBound..<units.lowerBound + 1
      let last = units.upperBound - 1..<units.upperBound
      return !(ends.0 && isHidden(run.slice(first, unit: unit)))
        && !(ends.1 && isHidden(run.slice(last, unit: unit)))
    }
  }

  private mutating func add(_ units: Range<Int>, isHidden: Bool) {
    if !units.isEmpty { parts.append(Part(units: units, isHidden: isHidden)) }
  }

  /// Adds units of which the first and the last are seen, without what is hidden between them.
  private mutating func addSeen(
    _ units: Range<Int>, depth: Int, _ isHidden: (Range<Int>) -> Bool
  ) {
    guard depth > 0, let seed = hiddenPart(of: units, isHidden) else {
      add(units, isHidden: false)
      return
    }
    // Hidden from after the last seen before the seed to before the first seen after it.
    let first = Self.lastSeen(in: units.lowerBound..<seed.upperBound, isHidden) + 1
    let end = Self.firstSeen(in: seed.lowerBound..<units.upperBound, isHidden)
    guard end - first >= least else {
      add(units, isHidden: false)
      return
    }
    addSeen(units.lowerBound..<first, depth: depth - 1, isHidden)
    add(first..<end, isHidden: true)
    addSeen(end..<units.upperBound, depth: depth - 1, isHidden)
  }

  /// A hidden part, if one of those is that lie as far from an end as they are long.
  private func hiddenPart(
    of units: Range<Int>, _ isHidden: (Range<Int>) -> Bool
  ) -> Range<Int>? {
    var size = (least + 1) / 2
    while units.lowerBound + 2 * size <= units.upperBound {
      let early = units.lowerBound + size..<units.lowerBound + 2 * size
      if isHidden(early) { return early }
      let late = units.upperBound - 2 * size..<units.upperBound - size
      if isHidden(late) { return late }
      size *= 2
    }
    return nil
  }

  /// The first unit after the longest hidden stretch at the beginning.
  private static func firstSeen(
    in units: Range<Int>, _ isHidden: (Range<Int>) -> Bool
  ) -> Int {
    var (low, high) = (units.lowerBound, units.upperBound)
    while high - low > 1 {
      let middle = (low + high) / 2
      if isHidden(units.lowerBound..<middle) { low = middle } else { high = middle }
    }
    return low
  }

  /// The last unit before the longest hidden stretch at the end.
  private static func lastSeen(
    in units: Range<Int>, _ isHidden: (Range<Int>) -> Bool
  ) -> Int {
    var (low, high) = (units.lowerBound, units.upperBound)
    while high - low > 1 {
      let middle = (low + high) / 2
      if isHidden(middle..<units.upperBound) { high = middle } else { low = middle }
    }
    return low
  }
}

extension PositionRange {
  /// Some units of neighbouring tokens, of which the last may be short.
  fileprivate func slice(_ units: Range<Int>, unit: Int) -> PositionRange {
    slice(units.lowerBound * unit..<Swift.min(units.upperBound * unit, count))
  }
}
