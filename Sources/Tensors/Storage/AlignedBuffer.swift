/// A fixed number of elements on the heap, aligned to 64 bytes, with a single owner.
///
/// The elements are reached through `span` and `mutableSpan`. Moving the buffer moves no memory:
/// the address of the elements stays the same from creation to destruction, so a transfer that owns
/// the buffer may keep it. Buffers of 256 KiB and more are memory mappings. Those of 4 MiB and more
/// ask for huge pages and return to the operating system on destruction; smaller ones are kept for
/// buffers of the same size, up to 16 MiB of them.
///
/// A buffer that the system cannot provide stops the process with a message, as for `Array`.
@safe
public struct AlignedBuffer<Element: BitwiseCopyable>: ~Copyable {
  /// How many elements the buffer holds.
  public let count: Int

  @usableFromInline let base: UnsafeMutablePointer<Element>

  /// Whether the memory is freed with the buffer.
  @usableFromInline let isOwner: Bool

  /// Allocates without giving the elements a value; if `zeroed`, all their bits are 0.
  @usableFromInline init(allocating count: Int, zeroed: Bool) {
    precondition(count >= 0, "A buffer cannot hold \(count) elements")
    let (byteCount, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
    precondition(!overflow, "A buffer of \(count) elements exceeds the address space")
    let memory = unsafe AlignedMemory.allocate(byteCount: byteCount, zeroed: zeroed)
    self.count = count
    unsafe self.base = memory.bindMemory(to: Element.self, capacity: count)
    isOwner = true
  }

  /// Creates a buffer on memory that somebody else owns, and keeps for as long as the buffer lives.
  ///
  /// - Parameter memory: initialized, aligned as an element is unless it is empty, and not
  ///   necessarily to 64 bytes; a last part of an element is left out.
  @unsafe
  public init(unowned memory: UnsafeMutableRawBufferPointer) {
    count = memory.count / MemoryLayout<Element>.stride
    let address = unsafe memory.baseAddress ?? AlignedMemory.nowhere
    precondition(
      count == 0 || Int(bitPattern: address) % MemoryLayout<Element>.alignment == 0,
      "memory not aligned")
    unsafe base = address.bindMemory(to: Element.self, capacity: count)
    isOwner = false
  }

  deinit {
    if isOwner { unsafe AlignedMemory.free(base, byteCount: byteCount) }
  }

  /// The size of the elements in bytes.
  @inlinable
  public var byteCount: Int { count * MemoryLayout<Element>.stride }
}

// Sole ownership: whoever holds the buffer is the only one who can reach its memory.
extension AlignedBuffer: @unchecked Sendable where Element: Sendable {}

extension AlignedBuffer {
  /// Creates a buffer of `count` elements without a value.
  ///
  /// Every element must be written before it is read.
  ///
  /// - Complexity: O(1); pages are provided when first touched.
  @unsafe
  package init(uninitializedCount count: Int) {
    self.init(allocating: count, zeroed: false)
  }

  /// Creates a buffer of `count` copies of `value`.
  ///
  /// - Complexity: O(`count`).
  @inlinable
  public init(repeating value: Element, count: Int) {
    self.init(allocating: count, zeroed: false)
    unsafe base.initialize(repeating: value, count: count)
  }

  /// Creates a buffer of `count` elements, which `initializer` appends in order.
  ///
  /// - Parameters:
  ///   - count: How many elements the buffer holds.
  ///   - initializer: Appends the elements.
  /// - Throws: What `initializer` throws.
  /// - Precondition: `initializer` appends exactly `count` elements.
  /// - Complexity: O(1) besides `initializer`.
  @inlinable
  public init<Failure: Error>(
    count: Int, initializingWith initializer: (inout OutputSpan<Element>) throws(Failure) -> Void
  ) throws(Failure) {
    self.init(allocating: count, zeroed: false)
    let storage = unsafe UnsafeMutableBufferPointer(start: base, count: count)
    var output = unsafe OutputSpan(buffer: storage, initializedCount: 0)
    try initializer(&output)
    let written = unsafe output.finalize(for: storage)
    precondition(written == count, "\(written) of a buffer's \(count) elements were initialized")
  }

  /// Creates a copy of `elements`.
  ///
  /// - Complexity: O(`elements.count`).
  @inlinable
  public init(copying elements: borrowing Span<Element>) {
    self.init(allocating: elements.count, zeroed: false)
    unsafe elements.withUnsafeBufferPointer { source in
      if let first = source.baseAddress {
        unsafe base.initialize(from: first, count: source.count)
      }
    }
  }
}

extension AlignedBuffer where Element: PlainNumber {
  /// Creates a buffer of `count` zeros.
  ///
  /// - Complexity: O(1) from 4 MiB on, where the system provides zeroed pages when first touched
  ///   (on the memory node of the thread that touches them); O(`count`) below.
  @inlinable
  public init(zeros count: Int) {
    self.init(allocating: count, zeroed: true)
  }
}

extension AlignedBuffer {
  /// The elements, readable for as long as the buffer is borrowed.
  @inlinable
  public var span: Span<Element> {
    @_lifetime(borrow self)
    get {
      let span = unsafe Span(_unsafeStart: base, count: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The elements, readable and writable for as long as the buffer is borrowed exclusively.
  @inlinable
  public var mutableSpan: MutableSpan<Element> {
    @_lifetime(&self)
    mutating get {
      let span = unsafe MutableSpan(_unsafeStart: base, count: count)
      return unsafe _overrideLifetime(span, mutating: &self)
    }
  }

  /// The element at `index`.
  ///
  /// - Precondition: `index` lies within `0..<count`.
  @inlinable
  public subscript(index: Int) -> Element {
    get { span[index] }
    set {
      precondition(index >= 0 && index < count, "Index \(index) is not within 0..<\(count)")
      unsafe base[index] = newValue
    }
  }

  /// The address of the first element, the same for the whole life of the buffer.
  ///
  /// It does not keep the buffer alive. It is for whoever owns the buffer and hands its memory to
  /// code outside of Swift's rules of access, such as a transfer in flight.
  @inlinable
  @unsafe
  public var unsafeBaseAddress: UnsafeMutablePointer<Element> { unsafe base }

  /// The memory of the elements, with the same warnings as `unsafeBaseAddress`.
  @inlinable
  @unsafe
  public var unsafeMutableBytes: UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(start: base, count: byteCount)
  }
}
