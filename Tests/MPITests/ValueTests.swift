import MPI
import Testing

/// What needs no ranks.
@Suite("Values")
struct ValueTests {
  @Test("Facts about the library are known without initializing MPI")
  func environment() {
    #expect(MPIEnvironment.libraryVersion.hasPrefix("Open MPI"))
    #expect(MPIEnvironment.standardVersion.major >= 3)
    #expect(!MPIEnvironment.processorName.isEmpty)
    #expect(!MPIEnvironment.isRunning)
    #expect(!MPIEnvironment.isLaunchedByMPI)
  }

  @Test(
    "A message is its full chunks and a shorter one",
    arguments: [
      (0, 100, 0), (1, 100, 1), (99, 100, 1), (100, 100, 2), (101, 100, 2), (300, 100, 4),
    ])
  func messageCount(bytes: Int, chunkBytes: Int, count: Int) {
    #expect(Communicator.messageCount(forBytes: bytes, chunkBytes: chunkBytes) == count)
  }

  @Test("A buffer shows what was put in", arguments: [0, 1, 1_000])
  func buffer(count: Int) {
    var buffer = MessageBuffer<Int16>(repeating: 5, count: count)
    var span = buffer.mutableSpan
    for index in span.indices { span[index] += Int16(index) }
    #expect(buffer.count == count)
    let copy = MessageBuffer(copying: buffer.span)
    let elements = copy.span
    #expect(elements.count == count)
    #expect(elements.indices.allSatisfy { elements[$0] == 5 + Int16($0) })
  }

  @Test(
    "A buffer keeps its address when it is moved, aligned for vectors",
    arguments: [0, 3, 40, 100, 1_000, 5_000])
  func address(count: Int) {
    func addresses(_ buffer: consuming MessageBuffer<UInt8>) -> Set<UInt> {
      let read = unsafe buffer.withUnsafeTransferBytes { UInt(bitPattern: $0.baseAddress) }
      let write = unsafe buffer.withUnsafeMutableTransferBytes {
        UInt(bitPattern: $0.baseAddress)
      }
      return [read, write]
    }
    let buffer = MessageBuffer<UInt8>(repeating: 0, count: count)
    let before = unsafe buffer.withUnsafeTransferBytes { bytes in
      #expect(bytes.count == count)
      return UInt(bitPattern: bytes.baseAddress)
    }
    #expect(before.isMultiple(of: 64))
    #expect(addresses(buffer) == [before])
  }

  @Test("Traffic adds up and differs")
  func traffic() {
    let early = Traffic(bytesSent: 1, messagesSent: 2, bytesReceived: 3, messagesReceived: 4)
    let late = Traffic(bytesSent: 10, messagesSent: 20, bytesReceived: 30, messagesReceived: 40)
    #expect(late - early + early == late)
    #expect(
      late - early
        == Traffic(bytesSent: 9, messagesSent: 18, bytesReceived: 27, messagesReceived: 36))
    #expect(Traffic.zero == Traffic())
  }

  @Test("Thread levels are ordered, and error classes have MPI's names")
  func names() {
    #expect(ThreadLevel.allCases == ThreadLevel.allCases.sorted())
    #expect(ThreadLevel.single < .multiple)
    #expect("\(MPIError.ErrorClass.truncate)" == "MPI_ERR_TRUNCATE")
    #expect("\(MPIError.ErrorClass(rawValue: 999))" == "MPI error class 999")
    #expect("\(PeerFailure(rank: 3, message: "no file"))" == "rank 3 failed: no file")
  }
}
