import MPI

/// The transfers of a stream without its visits, to measure what they take alone.
final class IdleStream: BlockStream {
  private let stream: any BlockStream

  init(_ stream: any BlockStream) { self.stream = stream }

  var ownBlock: UnsafeMutableRawBufferPointer { unsafe stream.ownBlock }
  var ownResult: UnsafeMutableRawBufferPointer { unsafe stream.ownResult }
  var traffic: Traffic { stream.traffic }

  func reserveResults(_ sizes: [Int]) throws(MPIError) { try stream.reserveResults(sizes) }

  func run(
    results: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) -> Timing {
    try stream.run(results: results) { _, _ in }
  }

  func close() throws(MPIError) { try stream.close() }
}
