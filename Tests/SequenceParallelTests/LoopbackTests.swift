import Loopback
import MPI
import SequenceParallel
import Testing

/// Streams of blocks with every rank a thread of this process, and orders and delays at random.
///
/// A case that fails says its seed; the same seed fails the same way again.
@Suite("Streams on the loopback wire")
struct LoopbackTests {
  @Test("each visit once, results summed exactly, no byte read while it is written")
  func rotating() {
    for seed in 1...400 as ClosedRange<UInt64> {
      do { try RandomStream(seed: seed, kind: .rotating).check() } catch {
        Issue.record("seed \(seed): \(error)")
      }
    }
  }

  @Test("the same where each block goes to all that see it at once")
  func direct() {
    for seed in 1...200 as ClosedRange<UInt64> {
      do { try RandomStream(seed: seed, kind: .direct).check() } catch {
        Issue.record("seed \(seed): \(error)")
      }
    }
  }

  @Test("what ranks have for each other changes hands")
  func exchange() {
    for seed in 1...100 as ClosedRange<UInt64> {
      var random = SplitMix(seed: seed)
      let ranks = Int.random(in: 1...9, using: &random)
      let sizes = (0..<ranks).map { _ in
        (0..<ranks).map { _ in Int.random(in: 0...100, using: &random) }
      }
      func content(_ from: Int, _ to: Int) -> [UInt8] {
        (0..<sizes[from][to]).map { UInt8(truncatingIfNeeded: 31 * from + 7 * to + $0) }
      }
      do {
        try LoopbackJob.run(ranks: ranks, seed: seed) { wire in
          let outgoing = StreamMemory.pieces(sizes: sizes[wire.rank])
          for (rank, piece) in outgoing.enumerated() {
            piece.write(content(wire.rank, rank), at: 0)
          }
          let incoming = StreamMemory.pieces(sizes: sizes.map { $0[wire.rank] })
          let exchange = PeerExchange("parts")
          try exchange.begin(sending: outgoing, receiving: incoming, tag: 5, on: wire)
          try wire.wait(for: "the exchange") { () throws(MPIError) in try exchange.isFinished() }
          for (rank, piece) in incoming.enumerated() {
            #expect(piece.copiedBytes == content(rank, wire.rank))
          }
        }
      } catch { Issue.record("seed \(seed): \(error)") }
    }
  }

  @Test("the wire finds what no stream may do")
  func faults() {
    func fault(_ body: @escaping LoopbackJob.Body) -> String {
      do {
        try LoopbackJob.run(ranks: 2, seed: 3, body)
        return "none"
      } catch { return "\(error)" }
    }
    func sendOrReceive(_ wire: any Wire, _ piece: Piece) throws -> any Shipment {
      wire.rank == 0
        ? try wire.send(piece, to: 1, tag: 0) : wire.receive(into: piece, from: 0, tag: 0)
    }
    #expect(
      fault { wire in
        let message = try sendOrReceive(wire, StreamMemory.pieces(sizes: [100 + wire.rank])[0])
        try wire.wait(for: "it") { () throws(MPIError) in try message.isFinished() }
      }.contains("100 bytes meet room for 101"))
    #expect(
      fault { wire in
        if wire.rank == 1 { return }
        try wire.wait(for: "nobody") { false }
      }.contains("nothing moves any more"))
    #expect(
      fault { wire in
        let piece = StreamMemory.pieces(sizes: [100])[0]
        let message = try sendOrReceive(wire, piece)
        if wire.rank == 1 { piece.write([7], at: 99) }
        try wire.wait(for: "it") { () throws(MPIError) in try message.isFinished() }
      }.contains("the room of a message was written"))
    #expect(
      fault { wire in
        if wire.rank == 0 { _ = try wire.send(StreamMemory.pieces(sizes: [9])[0], to: 1, tag: 0) }
      }.contains("left over"))
  }
}
