import Attention
import Tensors

/// The keys and values that a rank keeps of one layer, packed as kernels read them.
///
/// Nothing that is there is ever moved: what comes later goes into pages. Places of a page that
/// have no token yet are zeros at positions that no query so far may see, so that a causal mask
/// hides them.
final class LayerCache {
  private let shape: AttentionShape
  private let type: WireType
  private var blocks: [Block] = []
  /// For each page of the plan that is this rank's, its place among the blocks.
  private var pages: [Int: Int] = [:]

  /// A block, which an array cannot hold by itself.
  private final class Block {
    var block: KeyValueBlock
    init(_ block: consuming KeyValueBlock) { self.block = block }
  }

  init(shape: AttentionShape, type: WireType) {
    self.shape = shape
    self.type = type
  }

  /// Bytes of all blocks.
  var byteCount: Int { blocks.reduce(0) { $0 + $1.block.byteCount } }

  /// Keeps a copy of the keys and values of a prompt, as they are packed.
  func keep(_ block: borrowing KeyValueBlock) {
    if block.keyCount > 0 { blocks.append(Block(block.copy())) }
  }

  /// Adds the key and the value of one token to a page.
  ///
  /// - Parameters:
  ///   - keys: `[kvHeads, headDim]`.
  ///   - values: `[kvHeads, headDim]`.
  ///   - positions: those of the page.
  func append(
    keys: borrowing Span<Float>, values: borrowing Span<Float>, page: Int, index: Int,
    positions: PositionRange
  ) {
    let place = pages[page] ?? blocks.count
    if place == blocks.count {
      pages[page] = place
      blocks.append(
        Block(KeyValueBlock(shape: shape, elementType: type, runs: [positions])))
    }
    blocks[place].block.packKeys(keys, batch: 0, run: 0, from: index)
    blocks[place].block.packValues(values, batch: 0, run: 0, from: index)
  }

  /// Takes everything that is here into the state of queries.
  func attend(_ queries: borrowing QueryShard, _ state: inout ForwardAccumulator) {
    for block in blocks { state.attend(queries, to: block.block) }
  }
}
