public import Tensors

/// The gradients of a block's keys and values, to which every rank that sees the block adds.
///
/// They are `Float` whatever the block's element type is, and lie in rows, not in panels: nothing
/// computes on them but additions. Like the block they are one piece of memory, which travels.
public struct KeyValueGradient: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  /// Keys of the block.
  public private(set) var keyCount: Int

  /// `dk`, then `dv`, with room for more.
  private var storage: AlignedBuffer<Float>

  /// Creates zeros for a block of `keys` keys.
  ///
  /// - Parameter capacity: the most keys that it will ever be used for; at least `keys`.
  public init(shape: AttentionShape, keys: Int, capacity: Int? = nil) {
    self.shape = shape
    keyCount = keys
    storage = AlignedBuffer(
      zeros: Self.elementCount(keys: max(keys, capacity ?? keys), shape: shape))
  }

  /// Takes memory that somebody else owns and keeps for as long as this value lives.
  ///
  /// - Parameter memory: at least ``byteCount(keys:shape:)``, aligned to 64 bytes.
  @unsafe
  public init(shape: AttentionShape, keys: Int, memory: UnsafeMutableRawBufferPointer) {
    self.shape = shape
    keyCount = keys
    unsafe storage = AlignedBuffer(unowned: memory)
    precondition(
      Self.elementCount(keys: keys, shape: shape) <= storage.count, "no room for the gradients")
  }

  /// The bytes of the gradients of `keys` keys.
  public static func byteCount(keys: Int, shape: AttentionShape) -> Int {
    elementCount(keys: keys, shape: shape) * MemoryLayout<Float>.stride
  }

  private static func elementCount(keys: Int, shape: AttentionShape) -> Int {
    shape.batch * keys * shape.kvHeads * (shape.headDim + shape.valueHeadDim)
  }

  private var elementCount: Int { Self.elementCount(keys: keyCount, shape: shape) }
  private var keyElementCount: Int { shape.batch * keyCount * shape.kvHeads * shape.headDim }

  /// `[batch, keys, kvHeads, headDim]`, keys in the order of the block's runs; a copy.
  public func dk() -> Tensor<Float> {
    Tensor(
      shape: [shape.batch, keyCount, shape.kvHeads, shape.headDim],
      buffer: AlignedBuffer(copying: storage.span.extracting(0..<keyElementCount)))
  }

  /// `[batch, keys, kvHeads, valueHeadDim]`, keys in the order of the block's runs; a copy.
  public func dv() -> Tensor<Float> {
    Tensor(
      shape: [shape.batch, keyCount, shape.kvHeads, shape.valueHeadDim],
      buffer: AlignedBuffer(copying: storage.span.extracting(keyElementCount..<elementCount)))
  }

  /// Declares that gradients of another block are about to be held here.
  ///
  /// - Precondition: they fit.
  public mutating func replaceKeyCount(_ keys: Int) {
    keyCount = keys
    precondition(elementCount <= storage.count, "no room for the gradients of \(keys) keys")
  }

  /// Sets all gradients to zero.
  public mutating func clear() {
    unsafe storage.unsafeBaseAddress.update(repeating: 0, count: elementCount)
  }

  /// Adds what others have found out about the same block.
  public mutating func add(_ other: borrowing KeyValueGradient) {
    precondition(other.keyCount == keyCount && other.shape == shape, "another block")
    let target = unsafe storage.unsafeBaseAddress
    let source = unsafe UnsafePointer(other.storage.unsafeBaseAddress)
    unsafe addFloats(elementCount, from: source, to: target)
  }

  /// The bytes of the gradients, which are what travels.
  ///
  /// The address stays the same for the life of the value.
  @unsafe
  public var unsafeBytes: UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(
      rebasing: storage.unsafeMutableBytes[0..<Self.byteCount(keys: keyCount, shape: shape)])
  }

  /// The first element of `dk`.
  @unsafe var keyRows: UnsafeMutablePointer<Float> { unsafe storage.unsafeBaseAddress }
  /// The first element of `dv`.
  @unsafe var valueRows: UnsafeMutablePointer<Float> {
    unsafe storage.unsafeBaseAddress + keyElementCount
  }
}

/// Adds `count` numbers to others.
@unsafe
private func addFloats(
  _ count: Int, from source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>
) {
  var index = 0
  while index + Vector.width <= count {
    unsafe Vector(loading: source, at: index).add(to: target, at: index)
    index += Vector.width
  }
  while index < count {
    unsafe target[index] += source[index]
    index += 1
  }
}
