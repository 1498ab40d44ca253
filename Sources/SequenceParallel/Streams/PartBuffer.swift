import Tensors

/// Pieces of memory of known sizes, each on a cache line of its own.
struct PartBuffer: ~Copyable {
  private let memory: AlignedBuffer<UInt8>
  private let starts: [Int]
  private let sizes: [Int]

  /// Zeros.
  init(sizes: [Int]) {
    var end = 0
    starts = sizes.map { size in
      defer { end += aligned(size) }
      return end
    }
    self.sizes = sizes
    memory = AlignedBuffer(zeros: end)
  }

  /// A piece; valid for as long as the buffer lives.
  @unsafe
  subscript(index: Int) -> UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(
      rebasing: memory.unsafeMutableBytes[starts[index]..<starts[index] + sizes[index]])
  }

  /// All pieces.
  @unsafe
  var all: [UnsafeMutableRawBufferPointer] { unsafe sizes.indices.map { unsafe self[$0] } }
}
