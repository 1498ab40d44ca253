import Attention
import MPI
import Tensors

/// What is done with the rows of dilated attention at both ends of their way: at *homes*, which hold
/// the tokens, and at *workers*, which compute tasks.
///
/// Rows lie in messages in the order of steps; within a step in an order that both ends know.
protocol DilatedPass: AnyObject {
  /// What goes from homes to workers.
  var outward: RowWidths { get }
  /// What comes back.
  var homeward: RowWidths { get }

  /// At a home: writes its rows of a step.
  func write(_ step: DilatedStep, to worker: DilatedRounds.Cursor)

  /// At a worker: computes a step.
  ///
  /// - Parameters:
  ///   - homes: for each rank, where its rows are to be read.
  ///   - results: for each rank, where what it is to get is to be written.
  func compute(
    _ step: DilatedStep, homes: [DilatedRounds.Cursor], results: [DilatedRounds.Cursor],
    poll: (_ scores: Int) -> Void)

  /// At a home: takes in what a worker has found out about its rows.
  func read(_ step: DilatedStep, from worker: DilatedRounds.Cursor)
}

/// Brings rows to the ranks that compute on them and results back, a round at a time.
///
/// While a round is computed the rows of the next come in and the results of the one before go home.
final class DilatedRounds {
  /// A place in a message.
  @safe
  final class Cursor {
    var address: UnsafeMutablePointer<Float>

    init(_ address: UnsafeMutablePointer<Float>) {
      unsafe self.address = address
    }

    /// The same to read from.
    var source: UnsafePointer<Float> {
      get { unsafe UnsafePointer(address) }
      set { unsafe address = UnsafeMutablePointer(mutating: newValue) }
    }
  }

  private let plan: DilatedPlan
  /// For each round, for each rank, its steps.
  private let rounds: [[[DilatedStep]]]
  private let world: Communicator
  private let timeline: Timeline?
  private let overlaps: Bool

  /// - Parameters:
  ///   - roundBytes: about as many bytes of rows has a rank in a round.
  init(
    _ plan: DilatedPlan, roundBytes: Int, overlaps: Bool, timeline: Timeline?,
    on world: borrowing Communicator
  ) throws(MPIError) {
    self.plan = plan
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
    for (index, round) in rounds.enumerated() {
      guard let rows = coming else { break }
      try wait(for: "rows", [rows], &timing)
      coming = try index + 1 < rounds.count ? fetch(index + 1, pass, &timing) : nil
      if !overlaps { try wait(for: "rows", [coming, leaving], &timing) }
      let results = parcels(index, .homeward(pass.homeward))
      let start = ContinuousClock.now
      let homes = rows.incomingCursors
      let targets = results.outgoingCursors
      var failure: MPIError?
      for step in round[world.rank] {
        pass.compute(step, homes: homes, results: targets) { scores in
          progress(scores)
          do throws(MPIError) {
            _ = try coming?.exchange.isFinished()
            _ = try leaving?.exchange.isFinished()
          } catch { failure = failure ?? error }
        }
      }
      if let failure { throw failure }
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
    case .outward: Parcels("rows", round: index, outgoing: asHome, incoming: asWorker, timeline)
    case .homeward:
      Parcels("results", round: index, outgoing: asWorker, incoming: asHome, timeline)
    }
  }
}

/// What one rank sends to all and gets from all in a round.
private final class Parcels {
  let round: Int
  let exchange: PeerExchange
  private let outgoing: AlignedBuffer<UInt8>
  private let incoming: AlignedBuffer<UInt8>
  private let outgoingOffsets: PeerExchange.Offsets
  private let incomingOffsets: PeerExchange.Offsets

  /// - Parameters:
  ///   - outgoing: floats for each rank.
  ///   - incoming: floats from each rank.
  init(
    _ name: String, round: Int, outgoing: [Int], incoming: [Int], _ timeline: Timeline?
  ) {
    self.round = round
    exchange = PeerExchange(name, timeline: timeline)
    outgoingOffsets = Self.offsets(outgoing)
    incomingOffsets = Self.offsets(incoming)
    self.outgoing = AlignedBuffer(zeros: outgoingOffsets[outgoing.count])
    self.incoming = AlignedBuffer(zeros: incomingOffsets[incoming.count])
  }

  private static func offsets(_ floats: [Int]) -> PeerExchange.Offsets {
    floats.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1 * MemoryLayout<Float>.stride) }
  }

  func begin(tag: Int, on world: borrowing Communicator) throws(MPIError) {
    try exchange.begin(
      sending: outgoing, outgoingOffsets, receiving: incoming, incomingOffsets, tag: tag, on: world)
  }

  var outgoingCursors: [DilatedRounds.Cursor] { cursors(outgoing, outgoingOffsets) }
  var incomingCursors: [DilatedRounds.Cursor] { cursors(incoming, incomingOffsets) }

  private func cursors(
    _ buffer: borrowing AlignedBuffer<UInt8>, _ offsets: PeerExchange.Offsets
  ) -> [DilatedRounds.Cursor] {
    offsets.dropLast().map { offset in
      unsafe DilatedRounds.Cursor(
        UnsafeMutableRawPointer(buffer.unsafeBaseAddress + offset)
          .assumingMemoryBound(to: Float.self))
    }
  }
}
