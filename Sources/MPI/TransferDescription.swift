/// What a transfer is, for the sentence of an error.
struct TransferDescription {
  enum Direction { case send, receive }

  let direction: Direction
  let bytes: Int
  let peer: Int
  let tag: Int

  /// For instance "16 bytes from rank 3, tag 7 (1 of 2 messages done)".
  func sentence(progress: (done: Int, all: Int)) -> String {
    let preposition = direction == .send ? "to" : "from"
    return "\(bytes) bytes \(preposition) rank \(peer), tag \(tag) "
      + "(\(progress.done) of \(progress.all) messages done)"
  }
}

/// Keeps a value, and the memory that it owns, for the rest of the program.
func leak<Value: ~Copyable>(_ value: consuming Value) {
  unsafe UnsafeMutablePointer<Value>.allocate(capacity: 1).initialize(to: value)
}
