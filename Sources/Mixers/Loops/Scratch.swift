import Tensors

/// Working memory of one unit of work, zeros at first.
@safe
struct Scratch: ~Copyable {
  private let memory: AlignedBuffer<Float>
  private var taken = 0

  /// - Parameter count: floats, with up to 16 more for each part.
  init(count: Int, parts: Int) {
    memory = AlignedBuffer(zeros: count + 16 * parts)
  }

  /// A part that starts on a cache line.
  @unsafe
  mutating func take(_ count: Int) -> UnsafeMutablePointer<Float> {
    defer { taken += (count + 15) / 16 * 16 }
    precondition(taken + count <= memory.count, "more scratch than there is")
    return unsafe memory.unsafeBaseAddress + taken
  }
}

/// The next multiple of a vector's lanes.
func paddedToVectors(_ count: Int) -> Int { (count + 7) / 8 * 8 }
