import AttentionTypes
import CInstructions

/// The packed keys and values of a tile that comes next, which are asked for some cache lines at a
/// time while the tile before is computed with.
///
/// They go to the second-level cache: a tile is a hundred KiB, which would have to be waited for
/// when it is copied into panels.
@safe
struct KeysAhead {
  /// The next line of a stretch of memory, and the end of that.
  private var next: UnsafeRawPointer
  private var end: UnsafeRawPointer
  /// Stretches after it, all of values, how long they are, and how far one is from the next.
  private var stretches: Int
  private let length: Int
  private let stride: Int
  private var values: UnsafeRawPointer
  /// Lines to ask for at a time.
  private let lines: Int

  private static var lineBytes: Int { 64 }

  /// - Parameters:
  ///   - keys: which of the head come next; the first is a multiple of ``PackedPanel/width``.
  ///   - times: how often some are asked for.
  init(_ head: PackedHead, keys: Range<Int>, shape: AttentionShape, times: Int) {
    let size = unsafe head.elementType.byteWidth
    let panels = shape.valueHeadDim / PackedPanel.width
    unsafe next = UnsafeRawPointer(head.keys) + keys.lowerBound * shape.headDim * size
    unsafe end = next + keys.count * shape.headDim * size
    unsafe values = UnsafeRawPointer(head.values) + keys.lowerBound * PackedPanel.width * size
    stretches = panels
    length = keys.count * PackedPanel.width * size
    unsafe stride = head.count * PackedPanel.width * size
    let bytes = keys.count * shape.headDim * size + panels * length
    lines = (bytes / Self.lineBytes + times - 1) / max(1, times)
  }

  /// Asks for some more of it.
  @inline(__always)
  mutating func ask() {
    for _ in 0..<lines {
      if unsafe next >= end {
        if stretches == 0 { return }
        stretches -= 1
        unsafe (next, end) = (values, values + length)
        unsafe values += stride
      }
      unsafe gyre_prefetch_far(next)
      unsafe next += Self.lineBytes
    }
  }
}
