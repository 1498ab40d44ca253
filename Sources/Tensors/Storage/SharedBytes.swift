/// Bytes that nobody changes: a file's or a buffer's, or a part of these.
///
/// Copies are of the same memory, which is there for as long as one of them is; any number of
/// threads may read it.
@safe
public struct SharedBytes: Sendable {
  /// How many bytes there are.
  public let byteCount: Int

  private let owner: any AnyObject & Sendable
  private nonisolated(unsafe) let base: UnsafeRawPointer

  /// Takes memory that somebody else owns.
  ///
  /// - Parameter owner: Keeps it there, and nobody changes it, for as long as `owner` lives.
  @unsafe
  package init(owner: any AnyObject & Sendable, base: UnsafeRawPointer, byteCount: Int) {
    self.owner = owner
    unsafe self.base = unsafe base
    self.byteCount = byteCount
  }

  /// The bytes of a buffer's elements.
  public init<Element>(_ buffer: consuming AlignedBuffer<Element>) where Element: PlainNumber {
    let (base, byteCount) = unsafe (UnsafeRawPointer(buffer.unsafeBaseAddress), buffer.byteCount)
    unsafe self.init(owner: KeptBuffer(buffer), base: base, byteCount: byteCount)
  }

  /// Some of the bytes.
  ///
  /// - Precondition: `range` lies within them.
  public func part(_ range: Range<Int>) -> SharedBytes {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "bytes out of range")
    return unsafe SharedBytes(
      owner: owner, base: base + range.lowerBound, byteCount: range.count)
  }

  /// The bytes, readable for as long as this copy is borrowed.
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      let span = unsafe RawSpan(_unsafeStart: base, byteCount: byteCount)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }
}

/// Keeps a buffer for as long as it is shared.
private final class KeptBuffer<Element: PlainNumber>: Sendable {
  private let buffer: AlignedBuffer<Element>

  init(_ buffer: consuming AlignedBuffer<Element>) {
    self.buffer = buffer
  }
}
