import MPI
import SequenceParallel

/// What a rank's tokens do to a state that they are given: `decay ∘ state + own`, whose parts are
/// known before the state is.
///
/// It takes less than a pass, since nothing is read from the state and no output is written.
@safe
struct ScanEffect: Sendable {
  /// Floats of a unit's decay.
  let decayLength: Int

  /// Computes both parts of a unit, from zeros.
  let measure:
    @Sendable (
      _ unit: Int, _ own: UnsafeMutablePointer<Float>, _ decay: UnsafeMutablePointer<Float>,
      _ poll: Poll
    ) -> Void

  /// Adds to a unit's own part what is left of a state before it.
  let apply:
    @Sendable (
      _ unit: Int, _ own: UnsafeMutablePointer<Float>, _ decay: UnsafeMutablePointer<Float>,
      _ before: UnsafeMutablePointer<Float>
    ) -> Void

  /// Completes a state that has come, of numbers that are known without being sent.
  var prepare: @Sendable (_ unit: Int, _ state: UnsafeMutablePointer<Float>) -> Void = { _, _ in }
}

/// Fewer units than ranks: all ranks compute at once what their tokens do to a state, states go
/// from rank to rank meanwhile, and then all compute with the states that they were sent.
extension Scan {
  /// Passes through this rank's tokens, called by all ranks together; see ``run``.
  ///
  /// The bits depend on the number of ranks.
  @unsafe
  func runTwice(
    _ states: MixerTensor, carried: MixerTensor?, _ effect: ScanEffect, on line: RankLine,
    _ body:
      @Sendable (
        _ unit: Int, _ state: UnsafeMutablePointer<Float>, _ poll: Poll
      ) -> Void
  ) throws(MPIError) {
    let groups = Self.groups(units: units, threads: line.mostThreads)
    let way = try unsafe StatesOnTheirWay(self, groups, states, effect, on: line)
    if way.hasNext {
      for group in groups {
        try unsafe compute(
          group, way.own, on: line, moving: { () throws(MPIError) in try way.move() }
        ) { [effect] unit, own, poll in
          unsafe effect.measure(unit, own, way.decay(unit), poll)
        }
        way.measured += 1
        try way.move()
      }
    }
    for (number, group) in groups.enumerated() {
      try line.wait(for: "a state") { () throws(MPIError) in
        try way.move()
        return way.arrived > number && (!way.hasNext || way.sent > number)
      }
      if let carried {
        let (start, end) = (cuts[group.lowerBound], cuts[group.upperBound])
        unsafe (carried.base + start).update(from: states.base + start, count: end - start)
      }
      for unit in group { unsafe effect.prepare(unit, states.base + cuts[unit]) }
      try unsafe compute(
        group, states, on: line, moving: { () throws(MPIError) in try way.move() }, body)
    }
    try line.wait(for: "states to leave") { () throws(MPIError) in
      try way.move()
      return try way.isOver()
    }
  }
}

/// States that come from the rank before, and go on to the next as soon as it is known what this
/// rank's tokens do to them.
@safe
private final class StatesOnTheirWay: @unchecked Sendable {
  private let scan: Scan
  private let groups: [Range<Int>]
  private let states: MixerTensor
  /// What this rank's tokens make of zeros, and then what it hands on.
  let own: MixerTensor
  private let decays: MixerTensor
  private let effect: ScanEffect
  private let line: RankLine
  private let target: Int?
  private let incoming: [any Shipment]
  private var outgoing: [any Shipment] = []
  /// Groups of which this rank's part is known, that have come, and that have gone on.
  var measured = 0
  private(set) var arrived = 0
  private(set) var sent = 0

  @unsafe
  init(
    _ scan: Scan, _ groups: [Range<Int>], _ states: MixerTensor, _ effect: ScanEffect,
    on line: RankLine
  ) throws(MPIError) {
    (self.scan, self.groups, self.states, self.effect) = (scan, groups, states, effect)
    self.line = line
    target = line.neighbour(isReverse: scan.isReverse)
    let source = line.neighbour(isReverse: !scan.isReverse)
    own = MixerTensor(zeros: states.form, tokens: 0)
    decays = MixerTensor(
      zeros: TensorForm(
        name: "decays", dimensions: ["units", "decays"], sizes: [scan.units, effect.decayLength]),
      tokens: 0)
    incoming =
      source.map { source in
        groups.enumerated().map {
          line.wire.receive(
            into: scan.piece(of: $1, in: states), from: source, tag: Scan.firstTag + $0)
        }
      } ?? []
    // The first rank has what the sequence starts from.
    if source == nil { arrived = groups.count }
  }

  /// Whether a rank comes after this one.
  var hasNext: Bool { target != nil }

  /// Where a unit's decay lies.
  @unsafe
  func decay(_ unit: Int) -> UnsafeMutablePointer<Float> {
    unsafe decays.base + unit * effect.decayLength
  }

  /// Takes what has come, and sends on what can go.
  func move() throws(MPIError) {
    while arrived < incoming.count, try incoming[arrived].isFinished() { arrived += 1 }
    if let target {
      while sent < min(arrived, measured) {
        for unit in groups[sent] {
          let place = scan.cuts[unit]
          unsafe effect.apply(unit, own.base + place, decay(unit), states.base + place)
        }
        outgoing.append(
          try line.wire.send(
            scan.piece(of: groups[sent], in: own), to: target, tag: Scan.firstTag + sent))
        sent += 1
      }
    }
    for shipment in outgoing.suffix(8) { _ = try shipment.isFinished() }
  }

  /// Whether all has come and gone.
  func isOver() throws(MPIError) -> Bool {
    var isOver = arrived == groups.count && (!hasNext || sent == groups.count)
    for shipment in outgoing where try !shipment.isFinished() { isOver = false }
    return isOver
  }
}
