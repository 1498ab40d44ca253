public import Compute
public import Tensors

/// A tensor of a model: its shape, its type and its bytes, which stay where they are in the file.
///
/// A matrix has `rows` × `columns`, row-major, as files have weights: `[outputs, inputs]`, and of
/// an embedding `[vocabulary, width]`. A vector is one row. Copies share the bytes, and any number
/// of threads may read them.
public struct ModelTensor: Sendable {
  /// The tensor's name, by GGUF's conventions whatever the file is: `blk.0.attn_q.weight`.
  public let name: String

  /// The dimensions, outermost first.
  public let shape: Shape

  /// How the numbers lie in memory.
  public let type: WeightType

  /// The numbers of the innermost dimension, which lie side by side.
  public let columns: Int

  /// The product of all other dimensions; 1 for a vector.
  public let rows: Int

  /// The size of a row in bytes.
  public let rowByteCount: Int

  /// The size of all rows in bytes.
  public var byteCount: Int { rows * rowByteCount }

  /// The bytes of all rows, one after the other, at any alignment.
  ///
  /// `memory.bytes` is them as a span, for as long as the tensor is borrowed.
  public let memory: SharedBytes

  /// Whether the bytes are this process's own, since its file has them in another form.
  public let isCopy: Bool

  /// Describes a tensor whose bytes are known to be there.
  ///
  /// - Precondition: Rows are whole blocks, and `memory` is those of all rows.
  init(name: String, shape: Shape, type: WeightType, memory: SharedBytes, isCopy: Bool = false) {
    self.name = name
    self.isCopy = isCopy
    self.shape = shape
    self.type = type
    self.memory = memory
    columns = shape.dimensions.last ?? 1
    rows = shape.dimensions.dropLast().reduce(1, *)
    precondition(columns % type.blockLength == 0, "a row of \(name) ends within a block")
    rowByteCount = columns / type.blockLength * type.blockBytes
    precondition(memory.byteCount == rows * rowByteCount, "these are not the bytes of \(name)")
  }

  /// A vector or matrix of `Float`s of this process's own, for weights that no file has as they are
  /// needed.
  ///
  /// - Precondition: `numbers` fills `shape`.
  public init(name: String, shape: Shape, numbers: consuming AlignedBuffer<Float>) {
    precondition(numbers.count == shape.elementCount, "\(numbers.count) numbers in \(shape)")
    self.init(
      name: name, shape: shape, type: .f32, memory: SharedBytes(numbers), isCopy: true)
  }

  /// The bytes of some rows.
  ///
  /// - Precondition: `range` lies within the rows.
  @_lifetime(borrow self)
  public func rowBytes(_ range: Range<Int>) -> RawSpan {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows outside of \(name)")
    return memory.bytes.extracting(
      range.lowerBound * rowByteCount..<range.upperBound * rowByteCount)
  }

  /// Turns some rows into numbers, exactly as its type defines them.
  ///
  /// - Parameters:
  ///   - range: The rows.
  ///   - numbers: Where they go, one row after the other.
  /// - Precondition: `range` lies within the rows, and `numbers.count` is `range.count · columns`.
  /// - Complexity: O(`numbers.count`).
  public func decode(rows range: Range<Int>, into numbers: inout MutableSpan<Float>) {
    type.decode(rowBytes(range), into: &numbers)
  }

  /// All numbers, as `Float`.
  ///
  /// - Complexity: O(elements), and as much memory.
  public func decoded() -> AlignedBuffer<Float> {
    var buffer = AlignedBuffer<Float>(zeros: shape.elementCount)
    var span = buffer.mutableSpan
    decode(rows: 0..<rows, into: &span)
    return buffer
  }
}
