package import MPI

/// The transfers of a stream without its visits, to measure what they take alone.
package final class IdleStream: BlockStream {
  private let stream: any BlockStream

  package init(_ stream: any BlockStream) { self.stream = stream }

  package var ownBlock: Piece { stream.ownBlock }
  package var ownResult: Piece { stream.ownResult }
  package var traffic: Traffic { stream.traffic }

  package var ownParcels: [Range<Int>] { stream.ownParcels }

  package func reserveResults(_ sizes: [[Int]]) throws(MPIError) {
    try stream.reserveResults(sizes)
  }

  package func run(
    results: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) -> Timing {
    try stream.run(results: results) { _, _ in }
  }

  package func close() throws(MPIError) { try stream.close() }
}
