import MPI

/// A send or a receive that may be on its way, as often as it is needed.
final class Transfer {
  private let name: String
  private let timeline: Timeline?
  private var shipments: [any Shipment] = []
  private var started = ContinuousClock.now
  private var owner = 0
  private var byteCount = 0

  /// - Parameters:
  ///   - name: of its spans in a timeline.
  ///   - timeline: where they are noted.
  init(_ name: String, _ timeline: Timeline?) {
    self.name = name
    self.timeline = timeline
  }

  /// Hands memory to the wire, a message a piece; it must not be written until the transfer is
  /// finished.
  func send(
    _ pieces: [Piece], of owner: Int, to rank: Int, tag: Int, on wire: any Wire
  ) throws(MPIError) {
    begin(pieces, of: owner)
    for piece in pieces { shipments.append(try wire.send(piece, to: rank, tag: tag)) }
  }

  /// Gives the wire room for as many messages; it must not be touched until the transfer is
  /// finished.
  func receive(
    into pieces: [Piece], of owner: Int, from rank: Int, tag: Int, on wire: any Wire
  ) {
    begin(pieces, of: owner)
    for piece in pieces { shipments.append(wire.receive(into: piece, from: rank, tag: tag)) }
  }

  private func begin(_ pieces: [Piece], of owner: Int) {
    if shipments.isEmpty {
      started = .now
      byteCount = 0
    }
    self.owner = owner
    byteCount += pieces.reduce(0) { $0 + $1.byteCount }
  }

  /// Moves the transfer on; answers whether nothing is on its way any more.
  func isFinished() throws(MPIError) -> Bool {
    if shipments.isEmpty { return true }
    for shipment in shipments where try !shipment.isFinished() { return false }
    shipments.removeAll()
    timeline?.note(
      .transfers, "\(name) of \(owner)", from: started, to: .now, bytes: byteCount)
    return true
  }
}
