public import Tensors

/// The keys and values of one shard in the form that the kernel reads: the unit that travels.
///
/// Keys are packed in panels of W: `[panel][headDim][W]`, so that a step of `q·k` loads one row
/// of W keys. Values are packed in panels of W columns: `[panel][keys][W]`, so that a step of
/// `p·v` loads one row of W columns. W is 16, or 32 in a build for AVX-512. The last panel is as
/// narrow as what is left, so a block is exactly `keys · kvHeads · (headDim + valueHeadDim)`
/// elements a batch and nothing is padded. Each run of positions is packed by itself; a tile never
/// spans two runs.
///
/// The owner packs once. A block's storage can be larger than what it holds, so that one buffer
/// takes in turn every block that comes round a ring of uneven shards.
public struct KeyValueBlock: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  /// The type of the packed elements, whatever it is; arithmetic is in `Float`.
  public let elementType: ElementType

  /// The global positions of the keys that the block holds.
  public private(set) var runs: [PositionRange]

  /// Room for the elements, 64-byte aligned.
  private var storage: AlignedBuffer<UInt8>

  /// Creates a block with room for `runs`, to be filled by packing or by a transfer.
  ///
  /// - Parameters:
  ///   - capacity: the most keys that the block will ever hold; at least those of `runs`.
  public init(
    shape: AttentionShape, elementType: ElementType, runs: [PositionRange], capacity: Int? = nil
  ) {
    let keys = runs.reduce(0) { $0 + $1.count }
    let capacity = max(keys, capacity ?? keys)
    self.shape = shape
    self.elementType = elementType
    self.runs = runs
    storage = AlignedBuffer(
      zeros: Self.byteCount(keys: capacity, shape: shape, elementType: elementType))
  }

  /// Takes a packed block, or room for one, in memory that somebody else owns and keeps for as long
  /// as this value lives.
  ///
  /// - Parameter memory: at least ``byteCount(keys:shape:elementType:)``, aligned to 64 bytes.
  @unsafe
  public init(
    shape: AttentionShape, elementType: ElementType, runs: [PositionRange],
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
  public static func byteCount(keys: Int, shape: AttentionShape, elementType: ElementType) -> Int {
    shape.batch * keys * shape.kvHeads * (shape.headDim + shape.valueHeadDim)
      * elementType.byteWidth
  }

  /// Declares that the block is about to hold other keys, received into ``unsafeBytes``.
  ///
  /// - Precondition: they fit.
  public mutating func replaceRuns(_ runs: [PositionRange]) {
    self.runs = runs
    precondition(byteCount <= storage.byteCount, "the block has no room for these keys")
  }

  /// The bytes that the block holds.
  ///
  /// The address stays the same for the life of the block.
  @unsafe
  public var unsafeBytes: UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(rebasing: storage.unsafeMutableBytes[0..<byteCount])
  }

  /// The packed keys of one head in one run: `[⌈count/W⌉ panels][headDim][W]`.
  @unsafe
  func keyPanels(batch: Int, run: Int, kvHead: Int) -> UnsafeRawPointer {
    let element = firstElement(batch: batch, run: run, kvHead: kvHead)
    return unsafe UnsafeRawPointer(storage.unsafeBaseAddress) + element * elementType.byteWidth
  }

  /// The packed values of one head in one run: `[⌈valueHeadDim/W⌉ panels][count][W]`.
  @unsafe
  func valuePanels(batch: Int, run: Int, kvHead: Int) -> UnsafeRawPointer {
    let element =
      firstElement(batch: batch, run: run, kvHead: kvHead) + runs[run].count * shape.headDim
    return unsafe UnsafeRawPointer(storage.unsafeBaseAddress) + element * elementType.byteWidth
  }

  /// Elements are ordered `[run][batch][kvHead]`, keys before values: blocks of several runs of
  /// positions, put one after the other, are a block of all of them.
  private func firstElement(batch: Int, run: Int, kvHead: Int) -> Int {
    let earlierKeys = runs[0..<run].reduce(0) { $0 + $1.count }
    let heads = earlierKeys * shape.batch * shape.kvHeads
    let headKeys = heads + (batch * shape.kvHeads + kvHead) * runs[run].count
    return headKeys * (shape.headDim + shape.valueHeadDim)
  }
}
