import Compute
import MPI
import SequenceParallel
import Sharding

/// States that pass from rank to rank in the order of positions, or against it.
///
/// A unit (a head or some channels of a sequence) has a state of its own. Ranks work through the
/// units in the same order, so that a rank computes unit u while the next one computes u − 1 with
/// the state that it was sent: nothing is computed twice, and the bits do not depend on the number
/// of ranks. With U groups of units a pass takes `(U + P − 1) / U` times as long as the busiest
/// rank computes. Where that is more than twice as long, and the operator can tell what a rank's
/// tokens do to any state, ranks go in two passes instead: see ``ScanEffect``.
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
    if let effect, takesTwoPasses(line) {
      return try unsafe runTwice(states, carried: carried, effect, on: line, body)
    }
    let source = line.neighbour(isReverse: !isReverse)
    let target = line.neighbour(isReverse: isReverse)
    let isAlone = source == nil && target == nil
    let groups = isAlone ? [0..<units] : Self.groups(units: units, threads: line.mostThreads)
    let pieces = groups.map { piece(of: $0, in: states) }
    let incoming: [any Shipment] =
      source.map { source in
        pieces.enumerated().map {
          line.wire.receive(into: $1, from: source, tag: Self.firstTag + $0)
        }
      } ?? []
    var outgoing: [any Shipment] = []
    for (number, group) in groups.enumerated() {
      if source != nil {
        try line.wait(for: "a state") { () throws(MPIError) in
          try move(outgoing)
          return try incoming[number].isFinished()
        }
      }
      if let carried {
        let (start, end) = (cuts[group.lowerBound], cuts[group.upperBound])
        unsafe (carried.base + start).update(from: states.base + start, count: end - start)
      }
      let next = number + 1 < incoming.count ? [incoming[number + 1]] : []
      let moving = Array(outgoing.suffix(8)) + next
      try unsafe compute(
        group, states, on: line, moving: { () throws(MPIError) in try move(moving) }, body)
      if let target {
        outgoing.append(
          try line.wire.send(pieces[number], to: target, tag: Self.firstTag + number))
      }
    }
    try line.wait(for: "states to leave", outgoing)
  }

  /// Whether ranks would wait for each other as long as they compute.
  private func takesTwoPasses(_ line: RankLine) -> Bool {
    let groups = Self.groups(units: units, threads: line.mostThreads).count
    return line.sharding.shards.count { !$0.isEmpty } > groups + 1
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

  private func move(_ shipments: [any Shipment]) throws(MPIError) {
    for shipment in shipments { _ = try shipment.isFinished() }
  }

  /// Units in groups that keep all threads busy, the same on all ranks.
  static func groups(units: Int, threads: Int) -> [Range<Int>] {
    let size = max(threads, (units + mostGroups - 1) / mostGroups)
    return stride(from: 0, to: units, by: size).map { $0..<min($0 + size, units) }
  }
}
