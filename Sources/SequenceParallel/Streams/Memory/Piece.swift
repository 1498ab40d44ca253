import MPI

/// Some bytes of a stream's memory: a value that says where they are and keeps them alive.
///
/// Ranks and transfers hold pieces of the same memory at a time. Which of them may read or write it
/// when is what a stream's counts decide (``VisitPlan``), not the language.
package struct Piece {
  let memory: StreamMemory
  let member: Int
  let range: Range<Int>

  /// No memory.
  package static var nothing: Piece { StreamMemory(byteCount: 0).piece(0..<0) }

  /// How many bytes.
  package var byteCount: Int { range.count }

  /// Some of the bytes.
  package subscript(part: Range<Int>) -> Piece {
    precondition(
      part.lowerBound >= 0 && part.upperBound <= byteCount, "bytes \(part) of \(byteCount)")
    return Piece(
      memory: memory, member: member,
      range: range.lowerBound + part.lowerBound..<range.lowerBound + part.upperBound)
  }

  /// The bytes of some tokens, of which all have equally many.
  func tokens(_ tokens: Range<Int>, bytesPerToken: Int) -> Piece {
    self[tokens.lowerBound * bytesPerToken..<tokens.upperBound * bytesPerToken]
  }

  /// The bytes, to read.
  package var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(unsafeBytes))
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The bytes, to read and write.
  package var mutableBytes: MutableRawSpan {
    @_lifetime(borrow self)
    get {
      let span = unsafe MutableRawSpan(_unsafeBytes: unsafeBytes)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// Takes the bytes of another piece, unless it is the same one.
  package func copy(from other: Piece) {
    precondition(byteCount == other.byteCount, "pieces of two sizes")
    if unsafe byteCount == 0 || unsafeBytes.baseAddress == other.unsafeBytes.baseAddress { return }
    unsafe unsafeBytes.copyMemory(from: UnsafeRawBufferPointer(other.unsafeBytes))
  }
}

/// A transfer holds its piece, and with it the memory.
extension Piece: TransferBuffer {
  package func withUnsafeTransferBytes<R, E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe body(UnsafeRawBufferPointer(unsafeBytes))
  }

  package mutating func withUnsafeMutableTransferBytes<R, E: Error>(
    _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe body(unsafeBytes)
  }
}
