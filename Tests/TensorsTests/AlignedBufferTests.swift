import Glibc
import Tensors
import Testing

@Suite("Aligned buffers")
struct AlignedBufferTests {
  /// Sizes in elements on both sides of every threshold of the allocator.
  static let counts = [0, 1, 2, 15, 16, 17, 1000, 65_535, 65_536, 65_537, 1_048_576, 1_500_001]

  @Test("Elements start on a cache line and hold what they were given", arguments: counts)
  func repeating(count: Int) {
    let buffer = AlignedBuffer<Float>(repeating: 1.5, count: count)
    #expect(UInt(bitPattern: unsafe buffer.unsafeBaseAddress) % 64 == 0)
    #expect(buffer.count == count)
    #expect(buffer.byteCount == 4 * count)
    #expect(buffer.span.count == count)
    #expect(buffer.span.indices.allSatisfy { buffer.span[$0] == 1.5 })
  }

  @Test("Zeros are zeros, in memory that was dirty before", arguments: counts)
  func zeros(count: Int) {
    for _ in 0..<3 {
      var buffer = AlignedBuffer<Float>(zeros: count)
      let isZero = (0..<count).allSatisfy { buffer[$0].bitPattern == 0 }
      #expect(isZero)
      var span = buffer.mutableSpan
      for index in span.indices { span[index] = 7 }
    }
  }

  @Test("Elements can be appended, copied, written and read")
  func access() {
    var squares = AlignedBuffer<Int32>(count: 100) { output in
      for index in 0..<100 { output.append(Int32(index * index)) }
    }
    #expect(squares[99] == 9801)
    let copy = AlignedBuffer(copying: squares.span)
    squares[99] = -1
    #expect(squares[99] == -1)
    #expect(copy[99] == 9801)
    #expect(copy[0] == 0)
    var span = squares.mutableSpan
    span[3] = 5
    #expect(squares[3] == 5)
  }

  @Test("An error of the initializer is passed on")
  func initializerThrows() {
    struct Refusal: Error {}
    #expect(throws: Refusal.self) {
      _ = try AlignedBuffer<Float>(count: 10) { output throws(Refusal) in
        output.append(1)
        throw Refusal()
      }
    }
  }

  @Test("Moving a buffer moves no memory")
  func moving() {
    let buffer = AlignedBuffer<Float>(repeating: 2, count: 100_000)
    let before = UInt(bitPattern: unsafe buffer.unsafeBaseAddress)
    let tensor = Tensor(shape: [10, 10_000], buffer: buffer).reshaped(to: [100, 1000])
    let after = tensor.takeBuffer()
    #expect(UInt(bitPattern: unsafe after.unsafeBaseAddress) == before)
    #expect(after[99_999] == 2)
  }

  @Test("An index past either end, and a buffer left half initialized, stop the process")
  func bounds() async {
    await #expect(processExitsWith: .failure) {
      var buffer = AlignedBuffer<Float>(zeros: 4)
      buffer[4] = 1
    }
    await #expect(processExitsWith: .failure) {
      let buffer = AlignedBuffer<Float>(zeros: 4)
      print(buffer[-1])
    }
    await #expect(processExitsWith: .failure) {
      print(AlignedBuffer<Float>(count: 2) { $0.append(1) }.count)
    }
    await #expect(processExitsWith: .failure) {
      print(AlignedBuffer<Float>(zeros: .max / 2).count)
    }
  }

  @Test("A freed buffer leaves the process but for a bounded rest, whatever was freed before it")
  func memoryReturns() async {
    // In a process of its own, whose resident memory no other test moves.
    await #expect(processExitsWith: .success) {
      func residentBytes() -> Int {
        guard let file = unsafe fopen("/proc/self/statm", "r") else { return -1 }
        defer { unsafe fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        unsafe line.withUnsafeMutableBufferPointer { buffer in
          _ = unsafe fgets(buffer.baseAddress, 256, file)
        }
        let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
        return (Int(text.split(separator: " ")[1]) ?? -1) * 4096
      }
      let before = residentBytes()
      // Descending, as a large freed block makes glibc keep all smaller ones that follow.
      for mebibytes in [31, 24, 8, 3, 1, 200] {
        let buffer = AlignedBuffer<UInt8>(repeating: 1, count: mebibytes << 20)
        let during = residentBytes()
        guard buffer[12345] == 1, during - before > (mebibytes << 20) - (1 << 20) else { exit(1) }
      }
      // Those of 3 and 1 MiB are kept.
      guard before > 0, residentBytes() - before < 5 << 20 else { exit(2) }
      var buffers: [OwnedBuffer] = []
      for _ in 0..<20 { buffers.append(OwnedBuffer()) }
      buffers = []
      guard residentBytes() - before < KeptMappings.mostBytes + (1 << 20) else { exit(3) }
    }
  }
}

/// Three MiB, all of them touched.
private final class OwnedBuffer {
  let buffer = AlignedBuffer<UInt8>(repeating: 1, count: 3 << 20)
}
