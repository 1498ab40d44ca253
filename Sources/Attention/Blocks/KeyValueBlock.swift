public import AttentionTypes
public import Tensors

/// The keys and values of one shard in the form that the kernel reads: the unit that travels.
///
/// Keys are packed in panels of W: `[panel][headDim][W]`, so that a step of `q·k` loads one row
/// of W keys. Values are packed in panels of W columns: `[panel][keys][W]`, so that a step of
/// `p·v` loads one row of W columns. W is 16 whatever the processor. The last panel is as
/// narrow as what is left, so a block is exactly `keys · kvHeads · (headDim + valueHeadDim)`
/// elements a batch and nothing is padded. Integers are followed by their scales: `[keys]` for the
/// keys of a head, then `[keys]` for its values. Each run of positions is packed by itself; a tile
/// never spans two runs.
///
/// The owner packs once. A block lies in memory of its own, or in memory that a transfer fills:
/// whoever computes on what has come looks at it as a block for as long as that takes.
public struct KeyValueBlock: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  /// The type of the packed elements, whatever it is; arithmetic is in `Float`.
  public let elementType: WireType

  /// The global positions of the keys that the block holds.
  public let runs: [PositionRange]

  /// Room for the elements, 64-byte aligned.
  private let storage: AlignedBuffer<UInt8>

  /// Creates a block with room for `runs`, to be filled by packing.
  public init(shape: AttentionShape, elementType: WireType, runs: [PositionRange]) {
    let keys = runs.reduce(0) { $0 + $1.count }
    self.shape = shape
    self.elementType = elementType
    self.runs = runs
    storage = AlignedBuffer(
      zeros: Self.byteCount(keys: keys, shape: shape, elementType: elementType))
  }

  /// Takes a packed block, or room for one, in memory that somebody else owns and keeps for as long
  /// as this value lives.
  ///
  /// - Parameter memory: at least ``byteCount(keys:shape:elementType:)``, aligned as floats are.
  @unsafe
  public init(
    shape: AttentionShape, elementType: WireType, runs: [PositionRange],
    memory: UnsafeMutableRawBufferPointer
  ) {
    self.shape = shape
    self.elementType = elementType
    self.runs = runs
    unsafe storage = AlignedBuffer(unowned: memory)
    precondition(byteCount <= storage.byteCount, "no room for the block")
  }

  /// The keys that the block holds.
  public var keyCount: Int { runs.reduce(0) { $0 + $1.count } }

  /// The bytes that the block holds, which is what travels.
  public var byteCount: Int {
    Self.byteCount(keys: keyCount, shape: shape, elementType: elementType)
  }

  /// The bytes of a block of `keys` keys.
  public static func byteCount(keys: Int, shape: AttentionShape, elementType: WireType) -> Int {
    shape.batch * keys * shape.kvHeads
      * elementType.bytesPerToken(headDim: shape.headDim, valueHeadDim: shape.valueHeadDim)
  }

  /// A block of the same keys and values, in memory of its own.
  ///
  /// - Complexity: O(`byteCount`), at the speed of memory.
  public func copy() -> KeyValueBlock {
    let copy = KeyValueBlock(shape: shape, elementType: elementType, runs: runs)
    unsafe copy.storage.unsafeBaseAddress.update(
      from: storage.unsafeBaseAddress, count: byteCount)
    return copy
  }

  /// The packed keys and values of one head in one run.
  ///
  /// Heads are ordered `[run][batch][kvHead]`: blocks of several runs of positions, put one after
  /// the other, are a block of all of them.
  @unsafe
  func packedHead(batch: Int, run: Int, kvHead: Int) -> PackedHead {
    let count = runs[run].count
    let earlierKeys = runs[0..<run].reduce(0) { $0 + $1.count }
    let earlierTokens =
      earlierKeys * shape.batch * shape.kvHeads + (batch * shape.kvHeads + kvHead) * count
    let bytesPerToken = elementType.bytesPerToken(
      headDim: shape.headDim, valueHeadDim: shape.valueHeadDim)
    let keys =
      unsafe UnsafeMutableRawPointer(storage.unsafeBaseAddress)
      + earlierTokens * bytesPerToken
    let values = unsafe keys + count * shape.headDim * elementType.byteWidth
    return unsafe PackedHead(
      keys: keys, values: values,
      scales: values + count * shape.valueHeadDim * elementType.byteWidth,
      elementType: elementType, count: count)
  }

  /// Every head in every run, ordered `[run][batch][kvHead]`.
  @unsafe
  func packedHeads() -> [PackedHead] {
    var heads: [PackedHead] = unsafe []
    for run in runs.indices {
      for batch in 0..<shape.batch {
        for kvHead in 0..<shape.kvHeads {
          unsafe heads.append(packedHead(batch: batch, run: run, kvHead: kvHead))
        }
      }
    }
    return unsafe heads
  }
}
