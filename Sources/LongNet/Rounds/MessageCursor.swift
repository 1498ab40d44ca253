/// Where the next number of a message is written or read.
@safe
final class MessageCursor {
  var address: UnsafeMutablePointer<Float>

  init(_ address: UnsafeMutablePointer<Float>) {
    unsafe self.address = address
  }

  /// The same to read from.
  var source: UnsafePointer<Float> {
    get { unsafe UnsafePointer(address) }
    set { unsafe address = UnsafeMutablePointer(mutating: newValue) }
  }
}
