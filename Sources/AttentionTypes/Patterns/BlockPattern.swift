public import Tensors

/// A table says which blocks of queries see which blocks of keys: block-sparse attention.
///
/// It costs the pairs of the blocks that are set, and blocks of keys travel where a block is set.
/// The table is kept, and of each head how many are set up to each block: 5 bytes a block.
///
/// Source: Child et al. 2019, Generating long sequences with sparse transformers, section 5.
public struct BlockPattern: AttentionPattern {
  /// Blocks of queries.
  private let rows: Int
  /// Blocks of keys.
  private let columns: Int
  /// Queries of a block; the last may have fewer.
  private let rowTokens: Int
  /// Keys of a block; the last may have fewer.
  private let columnTokens: Int
  /// `[1 or queryHeads, rows, columns]`.
  private let isSet: [Bool]
  /// For each head of the table, how many blocks are set.
  private let heads: [BlockCounts]
  /// Blocks that are set for some head, and for all.
  private let ofAny: BlockCounts
  private let ofAll: BlockCounts

  /// Takes a table.
  ///
  /// - Parameters:
  ///   - isSet: `[1 or queryHeads, rows, columns]`, row-major.
  ///   - rows: blocks of queries.
  ///   - columns: blocks of keys.
  ///   - tokens: queries of a sequence.
  ///   - keyTokens: its keys.
  public init(isSet: [Bool], rows: Int, columns: Int, tokens: Int, keyTokens: Int) {
    precondition(
      rows > 0 && columns > 0 && !isSet.isEmpty && isSet.count % (rows * columns) == 0,
      "\(isSet.count) blocks in tables of \(rows) x \(columns)")
    self.rows = rows
    self.columns = columns
    rowTokens = BlockPattern.size(of: tokens, blocks: rows)
    columnTokens = BlockPattern.size(of: keyTokens, blocks: columns)
    self.isSet = isSet
    let blocks = rows * columns
    let tables = isSet.count / blocks
    heads = (0..<tables).map { head in
      BlockCounts(rows, columns) { isSet[head * blocks + $0] }
    }
    if tables == 1 {
      (ofAny, ofAll) = (heads[0], heads[0])
    } else {
      ofAny = BlockCounts(rows, columns) { block in
        (0..<tables).contains { isSet[$0 * blocks + block] }
      }
      ofAll = BlockCounts(rows, columns) { block in
        (0..<tables).allSatisfy { isSet[$0 * blocks + block] }
      }
    }
  }

  /// Tokens of a block where so many are divided into blocks, all but the last of one size.
  static func size(of tokens: Int, blocks: Int) -> Int { max(1, (tokens + blocks - 1) / blocks) }

  /// Whether there is a table for each head.
  public var dependsOnHead: Bool { heads.count > 1 }

  /// The table and the counts.
  public var byteCount: Int {
    let counts = heads.count == 1 ? 1 : heads.count + 2
    return isSet.count + counts * 4 * (rows + 1) * (columns + 1)
  }

  /// What all heads have in common.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    if keys.isEmpty || queries.isEmpty { return .none }
    let (rows, columns) = blocks(keys: keys, queries: queries)
    if ofAny.count(rows, columns) == 0 { return .none }
    return ofAll.count(rows, columns) == rows.count * columns.count ? .all : .some
  }

  /// Counts the blocks that are set between the first and the last positions.
  public func coverage(
    keys: PositionRange, queries: PositionRange, batch: Int, head: Int
  ) -> Coverage {
    if keys.isEmpty || queries.isEmpty { return .none }
    let (rows, columns) = blocks(keys: keys, queries: queries)
    let count = heads[heads.count == 1 ? 0 : head].count(rows, columns)
    if count == 0 { return .none }
    return count == rows.count * columns.count ? .all : .some
  }

  private func blocks(
    keys: PositionRange, queries: PositionRange
  ) -> (rows: Range<Int>, columns: Range<Int>) {
    let (lastKey, lastQuery) = (keys[keys.count - 1], queries[queries.count - 1])
    return (
      queries.start / rowTokens..<lastQuery / rowTokens + 1,
      keys.start / columnTokens..<lastKey / columnTokens + 1
    )
  }

  /// Writes 0 in blocks that are set and −∞ elsewhere.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    let table = heads.count == 1 ? 0 : head * rows * columns
    var element = 0
    for query in queries {
      let row = table + query / rowTokens * columns
      for key in keys {
        bias[element] = isSet[row + key / columnTokens] ? 0 : -.infinity
        element += 1
      }
    }
  }
}

/// How many blocks of any rectangle of a table are set.
private struct BlockCounts: Hashable, Sendable {
  /// `[rows + 1, columns + 1]`: of the blocks above and to the left.
  private let sums: [Int32]
  private let stride: Int

  init(_ rows: Int, _ columns: Int, isSet: (_ block: Int) -> Bool) {
    stride = columns + 1
    var sums = [Int32](repeating: 0, count: (rows + 1) * (columns + 1))
    for row in 0..<rows {
      var inRow: Int32 = 0
      for column in 0..<columns {
        if isSet(row * columns + column) { inRow += 1 }
        sums[(row + 1) * stride + column + 1] = sums[row * stride + column + 1] + inRow
      }
    }
    self.sums = sums
  }

  func count(_ rows: Range<Int>, _ columns: Range<Int>) -> Int {
    func sum(_ row: Int, _ column: Int) -> Int { Int(sums[row * stride + column]) }
    return sum(rows.upperBound, columns.upperBound) - sum(rows.lowerBound, columns.upperBound)
      - sum(rows.upperBound, columns.lowerBound) + sum(rows.lowerBound, columns.lowerBound)
  }
}

/// `--block-mask`: a file says which blocks of queries see which blocks of keys.
public struct BlockMask: Mask {
  /// Its option and field.
  public static let name = "block-mask"
  /// Its tensor in ``MaskInputs``.
  private static let tensor = "block_mask"

  /// The file.
  public let path: String

  /// Creates the mask that a file holds.
  public init(path: String) { self.path = path }

  /// The file.
  public var description: String { path }
  /// Its name.
  public var words: String { "block mask" }

  /// The only tensor of its file.
  public var tensors: [MaskTensor] {
    [
      MaskTensor(
        Self.tensor, [.u8, .bool], "[blocks, keyBlocks] or [queryHeads, blocks, keyBlocks]",
        path: path)
    ]
  }

  /// Refuses other shapes, numbers of blocks that the tokens cannot be divided into, and numbers
  /// that are neither 0 nor 1.
  public func check(_ inputs: MaskInputs) throws {
    let table = inputs[Self.tensor]
    let shape = table.shape
    guard (2...3).contains(shape.count), shape.count == 2 || shape[0] == inputs.queryHeads,
      shape.allSatisfy({ $0 > 0 })
    else {
      throw MaskError(
        "the block mask is \(shape); give [blocks, keyBlocks], or [queryHeads, blocks, keyBlocks] "
          + "with \(inputs.queryHeads) heads.")
    }
    let blocks = shape.suffix(2)
    for (tokens, blocks, what) in [
      (inputs.tokens, blocks.first ?? 0, "queries"), (inputs.keyTokens, blocks.last ?? 0, "keys"),
    ] {
      let size = BlockPattern.size(of: tokens, blocks: blocks)
      let needed = max(1, (tokens + size - 1) / size)
      guard needed == blocks else {
        throw MaskError(
          "the block mask has \(blocks) blocks of \(what), and \(tokens) \(what) are \(needed) "
            + "blocks of \(size); give as many blocks as there are with all but the last full.")
      }
    }
    guard let place = table.numbers.firstIndex(where: { $0 != 0 && $0 != 1 }) else { return }
    throw MaskError(
      "the block mask has a \(table.numbers[place]); give 1 for a block that is seen and 0 for "
        + "others.")
  }

  /// Of the table in the file.
  public func pattern(_ inputs: MaskInputs) -> any AttentionPattern {
    let table = inputs[Self.tensor]
    let blocks = table.shape.suffix(2)
    return BlockPattern(
      isSet: table.numbers.map { $0 == 1 }, rows: blocks.first ?? 1, columns: blocks.last ?? 1,
      tokens: inputs.tokens, keyTokens: inputs.keyTokens)
  }

  /// The number of the block that the pair lies in is 1.
  public func allows(query: Int, key: Int, batch: Int, head: Int, _ inputs: MaskInputs) -> Bool {
    let table = inputs[Self.tensor]
    let (rows, columns) = (table.shape[table.shape.count - 2], table.shape[table.shape.count - 1])
    // Sizes are rounded up.
    let row = query / ((inputs.tokens - 1) / rows + 1)
    let column = key / ((inputs.keyTokens - 1) / columns + 1)
    let first = table.shape.count == 3 ? head * rows * columns : 0
    return table.numbers[first + row * columns + column] != 0
  }

  /// The path.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(path)
  }

  /// Takes a path.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    path = try container.decode(String.self)
  }
}
