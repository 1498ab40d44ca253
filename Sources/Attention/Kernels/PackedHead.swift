/// One head's packed keys and values in one run of a block.
@unsafe
struct PackedHead {
  /// `[⌈count/W⌉ panels][headDim][W]`.
  let keys: UnsafeMutableRawPointer
  /// `[⌈valueHeadDim/W⌉ panels][count][W]`.
  let values: UnsafeMutableRawPointer
  /// What the integers of the keys and values are multiples of, `[2][count]` floats at any
  /// alignment; nothing for other types.
  let scales: UnsafeMutableRawPointer
  let elementType: WireType
  /// Keys in the run.
  let count: Int

  /// The scales of the keys from the `index`-th on.
  @unsafe
  func keyScales(from index: Int) -> UnsafeRawPointer {
    unsafe UnsafeRawPointer(scales) + index * MemoryLayout<Float>.stride
  }

  /// The scales of the values from the `index`-th on.
  @unsafe
  func valueScales(from index: Int) -> UnsafeRawPointer {
    unsafe keyScales(from: count + index)
  }
}
