import MPI
import SequenceParallel

/// Brings rows to the ranks that compute on them and results back, a round at a time.
///
/// While a round is computed the rows of the next come in and the results of the one before go
/// home.
final class DilatedRounds {
  private let plan: DilatedPlan
  /// For each round, for each rank, its steps.
  private let rounds: [[[DilatedStep]]]
  private let world: Communicator
  private let timeline: Timeline?
  private let overlaps: Bool
  private let memory: ReusedMemory

  /// - Parameters:
  ///   - roundBytes: about as many bytes of rows has a rank in a round.
  ///   - memory: for messages.
  init(
    _ plan: DilatedPlan, roundBytes: Int, overlaps: Bool, timeline: Timeline?,
    memory: ReusedMemory, on world: borrowing Communicator
  ) throws(MPIError) {
    self.plan = plan
    self.memory = memory
    self.overlaps = overlaps
    self.timeline = timeline
    self.world = try world.duplicate()
    rounds = plan.rounds(ofBytes: roundBytes)
  }

  var traffic: Traffic { world.traffic }

  /// Runs all rounds, called by all ranks together.
  ///
  /// - Returns: where the time went.
  func run(_ pass: any DilatedPass, progress: (_ scores: Int) -> Void) throws(MPIError) -> Timing {
    var timing = Timing()
    var coming = try rounds.isEmpty ? nil : fetch(0, pass, &timing)
    var leaving: Parcels?
    var poller = TransferPoller(isOn: overlaps)
    for (index, round) in rounds.enumerated() {
      guard let rows = coming else { break }
      try wait(for: "rows", [rows], &timing)
      coming = try index + 1 < rounds.count ? fetch(index + 1, pass, &timing) : nil
      if !overlaps { try wait(for: "rows", [coming, leaving], &timing) }
      let results = parcels(index, .homeward(pass.homeward))
      let start = ContinuousClock.now
      let homes = rows.incomingCursors
      let targets = results.outgoingCursors
      for step in round[world.rank] {
        pass.compute(step, homes: homes, results: targets) { scores in
          progress(scores)
          poller.poll { () throws(MPIError) in
            _ = try coming?.exchange.isFinished()
            _ = try leaving?.exchange.isFinished()
          }
        }
      }
      try poller.throwFailure()
      let end = ContinuousClock.now
      timing.computing += end - start
      timeline?.note(.computing, "round \(index)", from: start, to: end)
      try takeHome(leaving, pass, &timing)
      try results.begin(tag: 1, on: world)
      leaving = results
    }
    try takeHome(leaving, pass, &timing)
    return timing
  }

  /// Starts to bring the rows of a round to its workers.
  private func fetch(
    _ index: Int, _ pass: any DilatedPass, _ timing: inout Timing
  ) throws(MPIError) -> Parcels {
    let start = ContinuousClock.now
    let parcels = parcels(index, .outward(pass.outward))
    for (worker, cursor) in parcels.outgoingCursors.enumerated() {
      for step in rounds[index][worker] { pass.write(step, to: cursor) }
    }
    try parcels.begin(tag: 0, on: world)
    timing.computing += ContinuousClock.now - start
    return parcels
  }

  private func takeHome(
    _ parcels: Parcels?, _ pass: any DilatedPass, _ timing: inout Timing
  ) throws(MPIError) {
    guard let parcels else { return }
    try wait(for: "results", [parcels], &timing)
    let start = ContinuousClock.now
    for (worker, cursor) in parcels.incomingCursors.enumerated() {
      for step in rounds[parcels.round][worker] { pass.read(step, from: cursor) }
    }
    timing.computing += ContinuousClock.now - start
  }

  private func wait(
    for what: String, _ parcels: [Parcels?], _ timing: inout Timing
  ) throws(MPIError) {
    let start = ContinuousClock.now
    try world.wait(for: "the \(what) of dilated attention") { () throws(MPIError) in
      for parcels in parcels {
        if let parcels, try !parcels.exchange.isFinished() { return false }
      }
      return true
    }
    let end = ContinuousClock.now
    timing.waiting += end - start
    timeline?.note(.waiting, "wait for \(what)", from: start, to: end)
  }

  /// The floats that pass between a home and the worker that computes some steps.
  private func floats(_ steps: [DilatedStep], home: Int, _ direction: Direction) -> Int {
    steps.reduce(0) {
      switch direction {
      case .outward(let widths):
        $0 + plan.floats($1, home: home, widths, queries: $1.isFirst)
      case .homeward(let widths):
        $0 + plan.floats($1, home: home, widths, queries: $1.isLast)
      }
    }
  }

  private enum Direction {
    case outward(RowWidths)
    case homeward(RowWidths)
  }

  /// Messages of a round, with nothing in them yet.
  private func parcels(_ index: Int, _ direction: Direction) -> Parcels {
    let round = rounds[index]
    let asHome = round.map { floats($0, home: world.rank, direction) }
    let asWorker = (0..<plan.ranks).map { floats(round[world.rank], home: $0, direction) }
    return switch direction {
    case .outward:
      Parcels(
        "rows", round: index, outgoing: asHome, incoming: asWorker, rank: world.rank, memory,
        timeline)
    case .homeward:
      Parcels(
        "results", round: index, outgoing: asWorker, incoming: asHome, rank: world.rank, memory,
        timeline)
    }
  }
}
