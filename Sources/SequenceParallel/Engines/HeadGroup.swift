import MPI
import Tensors

/// The ranks of a row, which exchange heads.
final class HeadGroup {
  private let wire: MPIWire
  private let firstRank: Int
  private let timeline: Timeline?
  /// Time spent in exchanges since it was last set to zero.
  var waiting = Duration.zero

  /// Connects the ranks of a row, called by all ranks together.
  init(_ grid: HeadGrid, timeline: Timeline?, on world: borrowing Communicator) throws(MPIError) {
    let (row, column) = grid.place(of: world.rank)
    guard let group = try world.split(color: row, key: column) else {
      preconditionFailure("every rank is in a row")
    }
    wire = MPIWire(group)
    self.timeline = timeline
    firstRank = grid.members(ofRow: row).lowerBound
  }

  var traffic: Traffic { wire.traffic }

  /// Whether any rank of the row says so.
  func anyone(_ isSo: Bool) throws(MPIError) -> Bool {
    let start = ContinuousClock.now
    let answer = try wire.communicator.allReduce(isSo ? 1 : 0, with: .max)
    waiting += ContinuousClock.now - start
    return answer == 1
  }

  /// Gives each rank of the row a part, gets one of each, and waits for the end of it.
  func exchange(
    _ name: String, sending outgoing: [Piece], receiving incoming: [Piece]
  ) throws(MPIError) {
    let start = ContinuousClock.now
    let exchange = PeerExchange(name, firstRank: firstRank, timeline: timeline)
    try exchange.begin(sending: outgoing, receiving: incoming, on: wire)
    try wire.wait(for: "the exchange of \(name)") { () throws(MPIError) in
      try exchange.isFinished()
    }
    let end = ContinuousClock.now
    waiting += end - start
    timeline?.note(.waiting, "exchange \(name)", from: start, to: end)
  }

  // MARK: Tensors

  /// From a rank's rows of all columns, `[…]` with ``SharedMatrices/partsOfRows(of:)``, to its
  /// columns of all rows.
  func toColumns(
    _ name: String, _ tensor: borrowing Tensor<Float>, _ matrices: SharedMatrices, shape: Shape
  ) throws(MPIError) -> Tensor<Float> {
    try redistribute(
      name, tensor, matrices.partsOfRows(of: wire.rank), to: shape,
      matrices.partsOfColumns(of: wire.rank))
  }

  /// From a rank's columns of all rows to its rows of all columns.
  func toRows(
    _ name: String, _ tensor: borrowing Tensor<Float>, _ matrices: SharedMatrices, shape: Shape
  ) throws(MPIError) -> Tensor<Float> {
    try redistribute(
      name, tensor, matrices.partsOfColumns(of: wire.rank), to: shape,
      matrices.partsOfRows(of: wire.rank))
  }

  /// Parts that lie together are sent and received in place, others by way of a copy.
  private func redistribute(
    _ name: String, _ source: borrowing Tensor<Float>, _ sends: [TensorPart], to shape: Shape,
    _ receives: [TensorPart]
  ) throws(MPIError) -> Tensor<Float> {
    let start = ContinuousClock.now
    let target = Tensor<Float>(zeros: shape)
    let outgoing = StreamMemory.pieces(sizes: sends.map { $0.isDense ? 0 : $0.byteCount })
    let incoming = StreamMemory.pieces(sizes: receives.map { $0.isDense ? 0 : $0.byteCount })
    // Both outlive the exchange, which ends in here.
    let (sent, received) = unsafe (Piece(of: source), Piece(of: target))
    for (part, message) in zip(sends, outgoing) where !part.isDense {
      part.gather(from: sent, in: message)
    }
    waiting += ContinuousClock.now - start
    try exchange(
      name, sending: zip(sends, outgoing).map { $0.isDense ? $0.piece(of: sent) : $1 },
      receiving: zip(receives, incoming).map { $0.isDense ? $0.piece(of: received) : $1 })
    let end = ContinuousClock.now
    for (part, message) in zip(receives, incoming) where !part.isDense {
      part.scatter(from: message, to: received)
    }
    waiting += ContinuousClock.now - end
    return target
  }
}
