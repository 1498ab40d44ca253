/// A dense row-major array of numbers with a shape, on aligned storage, with a single owner.
///
/// `span` and `mutableSpan` see the elements in row-major order: element `[b, t, h, d]` of a tensor
/// of shape `[batch, tokens, heads, headDim]` is number
/// `((b · tokens + t) · heads + h) · headDim + d`.
public struct Tensor<Element: PlainNumber>: ~Copyable, Sendable {
  /// The dimensions, outermost first.
  public let shape: Shape

  @usableFromInline
  internal var buffer: AlignedBuffer<Element>

  /// Creates a tensor from its elements in row-major order, without a copy.
  ///
  /// - Precondition: `buffer` holds `shape.elementCount` elements.
  @inlinable
  public init(shape: Shape, buffer: consuming AlignedBuffer<Element>) {
    precondition(
      buffer.count == shape.elementCount,
      "\(buffer.count) elements do not fill a tensor of shape \(shape)")
    self.shape = shape
    self.buffer = buffer
  }

  /// Creates a tensor of zeros; see `AlignedBuffer.init(zeros:)` for its cost.
  @inlinable
  public init(zeros shape: Shape) {
    self.init(shape: shape, buffer: AlignedBuffer(zeros: shape.elementCount))
  }

  /// Creates a tensor whose elements all equal `value`.
  ///
  /// - Complexity: O(`shape.elementCount`).
  @inlinable
  public init(repeating value: Element, shape: Shape) {
    self.init(shape: shape, buffer: AlignedBuffer(repeating: value, count: shape.elementCount))
  }

  /// How many elements the tensor holds.
  @inlinable
  public var count: Int { buffer.count }

  /// The elements in row-major order, readable for as long as the tensor is borrowed.
  @inlinable
  public var span: Span<Element> {
    @_lifetime(borrow self)
    get { buffer.span }
  }

  /// The elements in row-major order, writable for as long as the tensor is borrowed exclusively.
  @inlinable
  public var mutableSpan: MutableSpan<Element> {
    @_lifetime(&self)
    mutating get { buffer.mutableSpan }
  }

  /// The element at an index of one number for each dimension, checked; for tests and small
  /// tensors.
  ///
  /// - Precondition: The index lies within `shape`.
  /// - Complexity: O(`shape.rank`), with an allocation for the list of numbers.
  @inlinable
  public subscript(index: Int...) -> Element {
    get { buffer[shape.flatIndex(of: index)] }
    set { buffer[shape.flatIndex(of: index)] = newValue }
  }

  /// The same elements under another shape, without a copy.
  ///
  /// - Precondition: Both shapes have the same number of elements.
  @inlinable
  public consuming func reshaped(to shape: Shape) -> Tensor {
    Tensor(shape: shape, buffer: buffer)
  }

  /// The elements in row-major order, as a buffer that outlives the tensor, without a copy.
  @inlinable
  public consuming func takeBuffer() -> AlignedBuffer<Element> {
    buffer
  }
}
