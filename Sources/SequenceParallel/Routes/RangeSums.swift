/// A sum for each rank, or group, to which the same is added for ranges of them in constant time.
struct RangeSums {
  /// How much more there is at each than at the one before; one more at the end.
  private var steps: [Message]

  init(count: Int) { steps = [Message](repeating: Message(), count: count + 1) }

  mutating func add(_ message: Message, to range: Range<Int>) {
    steps[range.lowerBound] += message
    steps[range.upperBound] -= message
  }

  /// Adds to some that follow one another round a ring.
  ///
  /// - Parameter first: which of them is the first, whatever it is modulo their number.
  mutating func add(_ message: Message, ofRing first: Int, count: Int) {
    let all = steps.count - 1
    let first = first % all
    let end = first + count
    add(message, to: first..<min(end, all))
    if end > all { add(message, to: 0..<end - all) }
  }

  /// The sum of each.
  var values: [Message] {
    var sum = Message()
    return steps.dropLast().map { step in
      sum += step
      return sum
    }
  }
}
