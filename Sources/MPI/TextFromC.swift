/// The text that a C function writes into room for `capacity` characters.
func textFromC(capacity: Int, _ write: (UnsafeMutablePointer<CChar>) -> Void) -> String {
  unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity + 1) { characters in
    unsafe characters.initialize(repeating: 0)
    guard let start = characters.baseAddress else { return "" }
    unsafe write(start)
    // Some functions do not end a text that fills the room.
    unsafe characters[capacity] = 0
    return unsafe String(cString: start)
  }
}
