/// The panels that keys and values are packed in.
package enum PackedPanel {
  /// Keys of a panel of keys, columns of a panel of values, whatever the vectors of those who read
  /// it: ranks with other processors read it too.
  @inlinable @inline(__always) package static var width: Int { 16 }
}
