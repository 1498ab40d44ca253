import Compute
import MPI
import SequenceParallel
import Sharding

/// States that pass from rank to rank in the order of positions, or against it.
///
/// A unit (a head or some channels of a sequence) has a state of its own. Ranks work through the
/// units in the same order, so that a rank computes unit u while the next one computes u − 1 with
/// the state that it was sent. With U groups of units a pass takes `(U + P − 1) / U` times as long
/// as the busiest rank computes, and the bits do not depend on the number of ranks.
///
/// Where the operator can tell what a rank's tokens do to any state (``ScanEffect``), in a part m
/// of the time, ranks give those after them a head start: a rank that has r ranks after it computes
/// this first of r groups, whose states then go on as soon as they come; it computes these groups
/// last. A pass takes `(U + m min(U, P − 1)) / U` times as long. What was sent ahead was added up
/// in another order, so that the last digits depend on the number of ranks.
struct Scan: Sendable {
  /// Where the states of units begin, and after them the end of the last.
  let cuts: [Int]
  /// Whether states go from the last token to the first, as gradients do.
  var isReverse = false

  /// Units with states of so many floats each.
  init(units: Int, stateLength: Int, isReverse: Bool = false) {
    self.init(cuts: (0...units).map { $0 * stateLength }, isReverse: isReverse)
  }

  /// Units with states of their own lengths.
  init(cuts: [Int], isReverse: Bool = false) {
    self.cuts = cuts
    self.isReverse = isReverse
  }

  /// Units of all sequences.
  var units: Int { cuts.count - 1 }

  static let firstTag = 16
  /// Groups into which units are divided at most: with 64 on 8 ranks an eighth more than computing.
  private static let mostGroups = 64

  /// Passes through this rank's tokens, called by all ranks together.
  ///
  /// - Parameters:
  ///   - states: those of all units one after the other: what the first rank starts from, and
  ///     afterwards what this rank hands on.
  ///   - carried: the same, gets what this rank has started from; nil is not asked for.
  ///   - body: computes this rank's tokens of a unit with its state.
  func run(
    _ states: MixerTensor, carried: MixerTensor?, effect: ScanEffect? = nil, on line: RankLine,
    _ body:
      @Sendable (
        _ unit: Int, _ state: UnsafeMutablePointer<Float>, _ poll: Poll
      ) -> Void
  ) throws(MPIError) {
    if line.tokens == 0 { return }
    let groups =
      line.isAlone ? [0..<units] : Self.groups(units: units, threads: line.mostThreads)
    let way = try unsafe StatesOnTheirWay(self, groups, states, effect, on: line)
    try way.measure()
    // Those that others wait for, then those that have gone ahead.
    for number in Array(way.ahead..<groups.count) + Array(0..<way.ahead) {
      let group = groups[number]
      try way.wait(for: number)
      if let carried {
        let (start, end) = (cuts[group.lowerBound], cuts[group.upperBound])
        unsafe (carried.base + start).update(from: states.base + start, count: end - start)
      }
      try unsafe compute(
        group, states, on: line, moving: { () throws(MPIError) in try way.move() }, body)
      try way.handOn(number)
    }
    try way.end()
  }

  /// Computes a group of units, and moves messages meanwhile.
  func compute(
    _ group: Range<Int>, _ states: MixerTensor, on line: RankLine,
    moving: () throws(MPIError) -> Void,
    _ body:
      @Sendable (
        _ unit: Int, _ state: UnsafeMutablePointer<Float>, _ poll: Poll
      ) -> Void
  ) throws(MPIError) {
    try line.compute(group.count, moving: moving) { index, poll in
      let unit = group.lowerBound + index
      unsafe body(unit, states.base + cuts[unit], poll)
    }
  }

  /// The states of a group as a message.
  func piece(of group: Range<Int>, in states: MixerTensor) -> Piece {
    let (start, end) = (cuts[group.lowerBound], cuts[group.upperBound])
    return unsafe Piece(
      unowned: UnsafeMutableRawBufferPointer(
        UnsafeMutableBufferPointer(start: states.base + start, count: end - start)))
  }

  /// Units in groups that keep all threads busy, the same on all ranks.
  static func groups(units: Int, threads: Int) -> [Range<Int>] {
    let size = max(threads, (units + mostGroups - 1) / mostGroups)
    return stride(from: 0, to: units, by: size).map { $0..<min($0 + size, units) }
  }
}
