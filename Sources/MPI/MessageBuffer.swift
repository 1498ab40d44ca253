/// A heap buffer of a fixed number of elements that can be moved into a transfer.
///
/// Its elements are reached through ``span`` and ``mutableSpan``. The memory is aligned to 64
/// bytes (a cache line, and the widest vector register).
@safe
public struct MessageBuffer<Element: BitwiseCopyable>: ~Copyable {
  @usableFromInline
  let storage: UnsafeMutableBufferPointer<Element>

  /// A buffer of `count` elements, all `value`.
  ///
  /// - Complexity: O(`count`).
  public init(repeating value: Element, count: Int) {
    precondition(count >= 0, "a buffer cannot have \(count) elements")
    unsafe storage = Self.allocate(count)
    unsafe storage.initialize(repeating: value)
  }

  /// A buffer with a copy of `elements`.
  ///
  /// - Complexity: O(`elements.count`).
  public init(copying elements: Span<Element>) {
    unsafe storage = Self.allocate(elements.count)
    unsafe elements.withUnsafeBufferPointer { source in
      _ = unsafe storage.initialize(from: source)
    }
  }

  deinit {
    unsafe storage.baseAddress?.deallocate()
  }

  /// The number of elements.
  @inlinable
  public var count: Int { unsafe storage.count }

  /// The elements, to read.
  @inlinable
  public var span: Span<Element> {
    @_lifetime(borrow self)
    borrowing get {
      let span = unsafe Span(_unsafeElements: storage)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The elements, to read and write.
  @inlinable
  public var mutableSpan: MutableSpan<Element> {
    @_lifetime(&self)
    mutating get {
      let span = unsafe MutableSpan(_unsafeElements: storage)
      return unsafe _overrideLifetime(span, mutating: &self)
    }
  }

  private static func allocate(_ count: Int) -> UnsafeMutableBufferPointer<Element> {
    let bytes = max(count * MemoryLayout<Element>.stride, 1)
    let alignment = max(64, MemoryLayout<Element>.alignment)
    let start = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: alignment)
    return unsafe UnsafeMutableBufferPointer(
      start: start.bindMemory(to: Element.self, capacity: count), count: count)
  }
}

// The value is the only owner of its memory.
extension MessageBuffer: @unchecked Sendable where Element: Sendable {}

extension MessageBuffer: TransferBuffer {
  /// Calls `body` with the bytes of all elements.
  public func withUnsafeTransferBytes<R, E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe body(UnsafeRawBufferPointer(storage))
  }

  /// Calls `body` with the bytes of all elements, to write.
  public mutating func withUnsafeMutableTransferBytes<R, E: Error>(
    _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe body(UnsafeMutableRawBufferPointer(storage))
  }
}
