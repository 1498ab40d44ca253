public import AttentionTypes
public import Tensors

/// Room for the keys and values of some tokens of one sequence in all layers of a model: the unit
/// of a cache.
///
/// A layer is packed as a ``KeyValueBlock`` of as many tokens as the page has room for. What is
/// written stays where it is; tokens come in order, and whoever reads says how many there are and
/// at which positions. So a page is free of positions, and can be used again.
///
/// Source: Kwon et al. 2023, Efficient Memory Management for Large Language Model Serving with
/// PagedAttention, section 4.1.
public final class KeyValuePage {
  /// The first tokens of a page, with their positions.
  public struct Part {
    /// Where they are.
    public let page: KeyValuePage
    /// Theirs, one for each token from the page's first on.
    public let positions: PositionRange

    /// Takes the first `positions.count` tokens of a page.
    public init(_ page: KeyValuePage, positions: PositionRange) {
      precondition(positions.count <= page.tokens, "a page has no room for \(positions)")
      self.page = page
      self.positions = positions
    }
  }

  /// Tokens that there is room for, a multiple of 16.
  public let tokens: Int
  /// Layers of which it has keys and values.
  public let layers: Int
  /// A run for each layer.
  private var block: KeyValueBlock

  /// Makes room.
  ///
  /// - Parameter shape: of one sequence.
  public init(shape: AttentionShape, elementType: WireType, tokens: Int, layers: Int) {
    precondition(tokens >= 16 && tokens % 16 == 0, "a page of \(tokens) tokens is no whole panels")
    precondition(shape.batch == 1, "a page is of one sequence")
    self.tokens = tokens
    self.layers = layers
    block = KeyValueBlock(
      shape: shape, elementType: elementType,
      runs: Array(repeating: PositionRange(0..<tokens), count: layers))
  }

  /// The dimensions of the problem.
  public var shape: AttentionShape { block.shape }
  /// The type of the elements.
  public var elementType: WireType { block.elementType }
  /// Its memory.
  public var byteCount: Int { block.byteCount }

  /// Writes the keys and values of neighbouring tokens.
  ///
  /// - Parameters:
  ///   - keys: `[count, kvHeads, headDim]`.
  ///   - values: `[count, kvHeads, valueHeadDim]`.
  ///   - index: of the first token in the page.
  public func write(
    keys: borrowing Span<Float>, values: borrowing Span<Float>, layer: Int, at index: Int
  ) {
    block.packKeys(copy keys, batch: 0, run: layer, from: index)
    block.packValues(copy values, batch: 0, run: layer, from: index)
  }

  /// Becomes a copy of another page of the same form.
  ///
  /// - Complexity: O(`byteCount`), at the speed of memory.
  public func copy(from other: KeyValuePage) {
    precondition(
      other.tokens == tokens && other.layers == layers && other.shape == shape
        && other.elementType == elementType, "a page of another form")
    block = other.block.copy()
  }

  /// `[kvHead]`.
  @unsafe
  func heads(layer: Int) -> [PackedHead] {
    unsafe (0..<shape.kvHeads).map {
      unsafe block.packedHead(batch: 0, run: layer, kvHead: $0)
    }
  }
}
