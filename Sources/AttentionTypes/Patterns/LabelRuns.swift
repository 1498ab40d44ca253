import Tensors

/// A label for each position, kept as the stretches of positions that have the same one.
///
/// Of documents that are packed one after the other it keeps two numbers a document, and one for 64
/// positions. Where neighbours differ it keeps two numbers a position, and 1/4 more.
struct LabelRuns: Hashable, Sendable {
  /// Positions.
  let count: Int
  /// Where stretches begin, ascending from 0.
  private let starts: [Int32]
  /// For every 64th position, the stretch that it is in.
  private let places: [Int32]
  /// The label of each stretch.
  private let labels: [Int32]
  /// Whether no label is smaller than one before it.
  private let isAscending: Bool
  /// The labels between the smallest and the largest of 2ⁿ groups of stretches from each group on,
  /// for each n; empty if labels ascend.
  private let extremes: [[ClosedRange<Int32>]]

  /// Stretches of a group, and positions between those whose stretch is kept.
  private static let groupLength = 64

  /// Takes a label for each position.
  init(_ all: some Sequence<Int32>) {
    var (starts, labels): ([Int32], [Int32]) = ([], [])
    var count = 0
    for label in all {
      if labels.last != label {
        starts.append(Int32(count))
        labels.append(label)
      }
      count += 1
    }
    precondition(count <= Int(Int32.max), "more positions than are counted in 32 bits")
    self.count = count
    self.starts = starts
    self.labels = labels
    places = Self.places(starts, count: count)
    isAscending = zip(labels, labels.dropFirst()).allSatisfy { $0 < $1 }
    extremes = isAscending ? [] : Self.extremes(of: labels)
  }

  private static func places(_ starts: [Int32], count: Int) -> [Int32] {
    var stretch = 0
    return stride(from: 0, to: count, by: groupLength).map { position in
      while stretch + 1 < starts.count, Int(starts[stretch + 1]) <= position { stretch += 1 }
      return Int32(stretch)
    }
  }

  private static func extremes(of labels: [Int32]) -> [[ClosedRange<Int32>]] {
    var level = stride(from: 0, to: labels.count, by: groupLength).map { first in
      bounds(labels[first..<min(first + groupLength, labels.count)])
    }
    var (levels, width) = ([level], 1)
    while 2 * width <= levels[0].count {
      level = (0...levels[0].count - 2 * width).map { joined(level[$0], level[$0 + width]) }
      levels.append(level)
      width *= 2
    }
    return levels
  }

  private static func bounds(_ labels: ArraySlice<Int32>) -> ClosedRange<Int32> {
    var (least, largest) = (Int32.max, Int32.min)
    for label in labels {
      least = min(least, label)
      largest = max(largest, label)
    }
    return least...max(least, largest)
  }

  private static func joined(
    _ a: ClosedRange<Int32>, _ b: ClosedRange<Int32>
  ) -> ClosedRange<Int32> {
    min(a.lowerBound, b.lowerBound)...max(a.upperBound, b.upperBound)
  }

  /// What is kept, in bytes.
  var byteCount: Int {
    8 * starts.count + 4 * places.count + extremes.reduce(0) { $0 + 8 * $1.count }
  }

  /// The number of the stretch that a position is in: at most 64 steps, and as a rule one or none.
  private func stretch(of position: Int) -> Int {
    var stretch = Int(places[position / Self.groupLength])
    while stretch + 1 < starts.count, Int(starts[stretch + 1]) <= position { stretch += 1 }
    return stretch
  }

  /// The label of a position.
  ///
  /// - Complexity: O(1).
  subscript(position: Int) -> Int32 { labels[stretch(of: position)] }

  /// The smallest and the largest label between the first and the last of some positions; of all
  /// labels between these two if they are the same.
  ///
  /// - Precondition: `range` is not empty.
  /// - Complexity: O(1): looks at 256 stretches at most, and as a rule at two.
  func bounds(of range: PositionRange) -> ClosedRange<Int32> {
    let first = stretch(of: range.start)
    let end = range[range.count - 1]
    if first + 1 == starts.count || Int(starts[first + 1]) > end {
      return labels[first]...labels[first]
    }
    let last = stretch(of: end)
    if isAscending { return labels[first]...labels[last] }
    let (left, right) = (first / Self.groupLength + 1, last / Self.groupLength)
    guard left < right else { return Self.bounds(labels[first...last]) }
    let ends = Self.joined(
      Self.bounds(labels[first..<left * Self.groupLength]),
      Self.bounds(labels[right * Self.groupLength...last]))
    let level = (right - left).bitWidth - 1 - (right - left).leadingZeroBitCount
    return Self.joined(
      ends, Self.joined(extremes[level][left], extremes[level][right - 1 << level]))
  }

  /// The indices of those of some positions that have a label, if they are neighbours.
  ///
  /// - Returns: nil if they are not, or, where labels do not ascend, if more than four stretches
  ///   would have to be looked at.
  /// - Complexity: O(1), or O(log stretches) where labels ascend.
  func neighbours(in range: PositionRange, labelled label: Int32) -> Range<Int>? {
    guard !range.isEmpty else { return 0..<0 }
    if isAscending {
      return ascendingStretch(labelled: label).map { range.indices(in: positions(of: $0)) } ?? 0..<0
    }
    let (first, last) = (stretch(of: range.start), stretch(of: range[range.count - 1]))
    guard last - first < 4 else { return nil }
    var found: Int?
    for stretch in first...last where labels[stretch] == label {
      if found != nil { return nil }
      found = stretch
    }
    guard let found else { return 0..<0 }
    return range.indices(in: positions(of: found))
  }

  private func positions(of stretch: Int) -> Range<Int> {
    Int(starts[stretch])..<(stretch + 1 < starts.count ? Int(starts[stretch + 1]) : count)
  }

  /// The one stretch that has a label, where labels ascend.
  private func ascendingStretch(labelled label: Int32) -> Int? {
    var (low, high) = (0, labels.count)
    while low < high {
      let middle = (low + high) / 2
      if labels[middle] < label { low = middle + 1 } else { high = middle }
    }
    return low < labels.count && labels[low] == label ? low : nil
  }

  /// Calls a function with the label of each of some positions, in their order.
  ///
  /// - Complexity: O(1) a position or stretch that it passes.
  @inline(__always)
  func forEach(in range: PositionRange, _ body: (_ index: Int, _ label: Int32) -> Void) {
    guard let first = range.first else { return }
    var stretch = stretch(of: first)
    var position = first
    for index in 0..<range.count {
      while stretch + 1 < starts.count, Int(starts[stretch + 1]) <= position { stretch += 1 }
      body(index, labels[stretch])
      position += range.stride
    }
  }
}

extension LabelRuns {
  /// Labels of queries and keys, for each sequence, numbered anew in the order in which keys first
  /// have them: of documents one after the other they ascend then, whatever they were.
  ///
  /// - Parameters:
  ///   - queries: for each sequence, a label for each query.
  ///   - keys: for each sequence, a label for each key; nil is those of the queries.
  ///   - kept: a negative label that stays as it is.
  /// - Complexity: O(tokens) look-ups in a table of the labels.
  static func numbered(
    queries: [ArraySlice<Int32>], keys: [ArraySlice<Int32>]?, keeping kept: Int32? = nil
  ) -> (queries: [LabelRuns], keys: [LabelRuns]) {
    precondition(keys == nil || keys?.count == queries.count, "labels of other sequences")
    var result: (queries: [LabelRuns], keys: [LabelRuns]) = ([], [])
    for (batch, labels) in (keys ?? queries).enumerated() {
      var numbers: [Int32: Int32] = [:]
      var last: (label: Int32, number: Int32)?
      func number(_ label: Int32) -> Int32 {
        if label == kept { return label }
        if let last, last.label == label { return last.number }
        let next = Int32(numbers.count)
        let number = numbers[label] ?? next
        if number == next { numbers[label] = next }
        last = (label, number)
        return number
      }
      let ofKeys = LabelRuns(labels.lazy.map(number))
      result.keys.append(ofKeys)
      result.queries.append(
        keys == nil ? ofKeys : LabelRuns(queries[batch].lazy.map(number)))
    }
    return result
  }
}
