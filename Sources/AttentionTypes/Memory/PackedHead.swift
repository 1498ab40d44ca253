/// One head's packed keys and values in one run of a block.
@unsafe
package struct PackedHead {
  /// `[⌈count/W⌉ panels][headDim][W]`.
  package let keys: UnsafeMutableRawPointer
  /// `[⌈valueHeadDim/W⌉ panels][count][W]`.
  package let values: UnsafeMutableRawPointer
  /// What the integers of the keys and values are multiples of, `[2][count]` floats at any
  /// alignment; nothing for other types.
  package let scales: UnsafeMutableRawPointer
  package let elementType: WireType
  /// Keys that there is room for, by which panels are laid out: those of the run, or of a page.
  package let count: Int

  package init(
    keys: UnsafeMutableRawPointer, values: UnsafeMutableRawPointer,
    scales: UnsafeMutableRawPointer, elementType: WireType, count: Int
  ) {
    unsafe self.keys = keys
    unsafe self.values = values
    unsafe self.scales = scales
    unsafe self.elementType = elementType
    unsafe self.count = count
  }

  /// The scales of the keys from the `index`-th on.
  @unsafe
  package func keyScales(from index: Int) -> UnsafeRawPointer {
    unsafe UnsafeRawPointer(scales) + index * MemoryLayout<Float>.stride
  }

  /// The scales of the values from the `index`-th on.
  @unsafe
  package func valueScales(from index: Int) -> UnsafeRawPointer {
    unsafe keyScales(from: count + index)
  }
}
