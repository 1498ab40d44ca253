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

  /// Completes a state that has come so, of numbers that are known without being sent.
  var prepare: @Sendable (_ unit: Int, _ state: UnsafeMutablePointer<Float>) -> Void = { _, _ in }
}

/// States that come from the rank before and go on to the next: as soon as it is known what this
/// rank's tokens do to them, or when they have been computed.
@safe
final class StatesOnTheirWay: @unchecked Sendable {
  private let scan: Scan
  private let groups: [Range<Int>]
  private let states: MixerTensor
  private let effect: ScanEffect?
  private let line: RankLine
  private let target: Int?
  private let incoming: [any Shipment]
  private var outgoing: [any Shipment] = []
  /// Groups of which this rank knows first what its tokens do to them, those of smallest number.
  let ahead: Int
  /// What this rank's tokens make of zeros, and then what it hands on, of these groups.
  private let own: MixerTensor
  private let decays: MixerTensor
  /// Of these, how many are known, and how many have gone on.
  private var measured = 0
  private var sent = 0
  /// Groups that have come.
  private var arrived = 0

  @unsafe
  init(
    _ scan: Scan, _ groups: [Range<Int>], _ states: MixerTensor, _ effect: ScanEffect?,
    on line: RankLine
  ) throws(MPIError) {
    (self.scan, self.groups, self.states, self.effect) = (scan, groups, states, effect)
    self.line = line
    target = line.neighbour(isReverse: scan.isReverse)
    let source = line.neighbour(isReverse: !scan.isReverse)
    let ahead = effect == nil ? 0 : line.headStart(groups: groups.count, isReverse: scan.isReverse)
    let units = ahead == 0 ? 0 : groups[ahead - 1].upperBound
    own = MixerTensor(
      zeros: TensorForm(name: "own", dimensions: ["floats"], sizes: [scan.cuts[units]]), tokens: 0)
    decays = MixerTensor(
      zeros: TensorForm(
        name: "decays", dimensions: ["units", "decays"], sizes: [units, effect?.decayLength ?? 0]),
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
    self.ahead = ahead
  }

  /// Computes what this rank's tokens do to the states of the first groups.
  func measure() throws(MPIError) {
    guard let effect else { return }
    for group in groups[..<ahead] {
      try unsafe scan.compute(
        group, own, on: line, moving: { () throws(MPIError) in try move() }
      ) { unit, own, poll in
        unsafe effect.measure(unit, own, decay(unit), poll)
      }
      measured += 1
      try move()
    }
  }

  /// Waits until a group's state is there, and is no longer needed as it came.
  func wait(for number: Int) throws(MPIError) {
    try line.wait(for: "a state") { () throws(MPIError) in
      try move()
      return arrived > number && (target == nil || number >= ahead || sent > number)
    }
    // What the rank before has sent ahead lacks what is known without being sent.
    guard let effect, !incoming.isEmpty, number <= ahead else { return }
    for unit in groups[number] { unsafe effect.prepare(unit, states.base + scan.cuts[unit]) }
  }

  /// Hands on a state that has been computed, unless it has gone ahead.
  func handOn(_ number: Int) throws(MPIError) {
    if number >= ahead { try send(number, of: states) }
  }

  /// Takes what has come, and sends on what can go.
  func move() throws(MPIError) {
    while arrived < incoming.count, try incoming[arrived].isFinished() { arrived += 1 }
    while let effect, sent < min(arrived, measured) {
      for unit in groups[sent] {
        let place = scan.cuts[unit]
        unsafe effect.apply(unit, own.base + place, decay(unit), states.base + place)
      }
      try send(sent, of: own)
      sent += 1
    }
    for shipment in outgoing.suffix(8) { _ = try shipment.isFinished() }
  }

  /// Waits until all has gone.
  func end() throws(MPIError) {
    try line.wait(for: "states to leave") { () throws(MPIError) in
      try move()
      var isOver = sent == ahead
      for shipment in outgoing where try !shipment.isFinished() { isOver = false }
      return isOver
    }
  }

  private func send(_ number: Int, of states: MixerTensor) throws(MPIError) {
    guard let target else { return }
    let piece = scan.piece(of: groups[number], in: states)
    outgoing.append(try line.wire.send(piece, to: target, tag: Scan.firstTag + number))
  }

  /// Where a unit's decay lies.
  @unsafe
  private func decay(_ unit: Int) -> UnsafeMutablePointer<Float> {
    unsafe decays.base + unit * (effect?.decayLength ?? 0)
  }
}
