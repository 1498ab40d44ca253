public import Attention
public import Sharding
public import Tensors

/// The keys and values of sequences in all layers of a model, in pages that are divided among
/// ranks: those of this rank, and the table of all.
///
/// ```swift
/// let cache = PagedCache(
///   shape: shape, layers: 30, type: .bf16, ranks: world.size, rank: world.rank)
/// let sequence = cache.create(prompt: sharding)
/// cache.write(keys: k, values: v, layer: 0, of: sequence, at: run)    // this rank's own tokens
/// cache.append(1, to: sequence)                                       // a place for one more
/// let other = cache.fork(sequence)                                    // shares all pages
/// ```
///
/// Every rank makes the same calls but those of ``write(keys:values:layer:of:at:)`` and
/// ``attend(_:layer:of:to:)``, which are of what it has itself; so tables are equal, and nothing is
/// told to anybody. What is there is never moved; a page that several sequences use is copied by
/// the first that appends to it.
///
/// Memory is a page's, `layers · pageTokens · kvHeads · (headDim + valueHeadDim)` elements, times
/// the most pages that this rank has had in use at once. Pages that are free are used again. Of a
/// sequence less than a page is wasted for each run of a prompt, and for what comes after it.
///
/// Source: Kwon et al. 2023, PagedAttention.
public final class PagedCache {
  /// Which rank keeps what.
  public private(set) var table: PageTable
  /// Layers of the model.
  public let layers: Int
  /// The dimensions of one sequence.
  public let shape: AttentionShape
  /// How keys and values are kept.
  public let type: CacheType
  let rank: Int
  private let store: PageStore
  /// Pages of prompts that are made integers of as soon as all of their tokens are there.
  private var staged: Set<Int> = []

  /// A cache without sequences.
  ///
  /// - Parameter pageTokens: a multiple of 16, from 16 to 256: small pages waste less, large ones
  ///   are read faster.
  public init(
    shape: AttentionShape, layers: Int, type: CacheType, pageTokens: Int = 256, ranks: Int,
    rank: Int, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    precondition((0..<ranks).contains(rank), "rank \(rank) of \(ranks)")
    table = PageTable(pageTokens: pageTokens, ranks: ranks)
    self.layers = layers
    self.shape = shape
    self.type = type
    self.rank = rank
    store = PageStore(
      shape: shape, layers: layers, type: type, pageTokens: pageTokens, team: team)
  }

  /// Bytes of this rank's pages, those that are free now too.
  public var byteCount: Int { store.byteCount }

  /// The bytes of some pages, and of what integers of 4 bits are widened in.
  ///
  /// - Parameters:
  ///   - pages: in use at once.
  ///   - recent: those among them that have some of the newest tokens, or are being filled.
  public static func byteCount(
    pages: Int, recent: Int, shape: AttentionShape, layers: Int, type: CacheType, pageTokens: Int
  ) -> Int {
    func packed(_ layers: Int) -> Int {
      KeyValueBlock.byteCount(
        keys: layers * pageTokens, shape: shape, elementType: type.wire)
    }
    guard type == .kivi4 else { return pages * packed(layers) }
    return pages * QuantisedPage.byteCount(shape: shape, tokens: pageTokens, layers: layers)
      + min(pages, recent) * packed(layers)
      + (1 + max(1, PageStore.scratchTokens / pageTokens)) * packed(1)
  }

  // MARK: Sequences

  /// A sequence without tokens.
  public func create() -> PageTable.Sequence { table.create() }

  /// A sequence whose tokens lie where a sharding has them; see
  /// ``PageTable/create(prompt:hiding:)``.
  public func create(
    prompt: Sharding, hiding hidden: Range<Int> = 0..<0
  ) -> PageTable.Sequence {
    let sequence = create()
    append(prompt, to: sequence, hiding: hidden)
    return sequence
  }

  /// Makes a sequence longer by tokens that lie where a sharding has them, to be written layer by
  /// layer in their order; see ``PageTable/append(_:to:hiding:)``.
  public func append(
    _ piece: Sharding, to sequence: PageTable.Sequence, hiding hidden: Range<Int> = 0..<0
  ) {
    let first = table.tokens(of: sequence)
    for entry in settled(of: sequence) { store.quantise(entry.page.number) }
    table.append(piece, to: sequence, hiding: hidden)
    for entry in settled(of: sequence) where entry.positions.start >= first {
      staged.insert(entry.page.number)
    }
  }

  /// Pages of this rank whose tokens are none of the newest, and which nothing is added to.
  private func settled(of sequence: PageTable.Sequence) -> [PageTable.Entry] {
    guard type == .kivi4 else { return [] }
    let end = table.tokens(of: sequence) - QuantisedPage.residualTokens
    return table.entries(of: sequence).filter {
      $0.page.rank == rank && ($0.positions.last ?? .max) < end
    }
  }

  /// A sequence that begins as another does and shares its pages.
  ///
  /// - Parameter tokens: how many of its tokens; nil for all.
  public func fork(_ sequence: PageTable.Sequence, tokens: Int? = nil) -> PageTable.Sequence {
    table.fork(sequence, tokens: tokens)
  }

  /// Ends a sequence.
  public func release(_ sequence: PageTable.Sequence) {
    table.release(sequence)
    forgetFree()
  }

  /// Gives up pages that hold only positions that nobody will ask for again.
  public func release(_ positions: Range<Int>, of sequence: PageTable.Sequence) {
    table.release(positions, of: sequence)
    forgetFree()
  }

  private func forgetFree() {
    guard type == .kivi4 else { return }
    let isFree = { [table, rank] number in
      table.references(to: PageTable.Page(rank: rank, number: number)) == 0
    }
    store.forget(isFree)
    staged = staged.filter { !isFree($0) }
  }

  /// Makes a sequence longer, to be written then layer by layer.
  ///
  /// - Complexity: O(`count` / ``PageTable/pageTokens``), and a copy of a page that is shared.
  public func append(_ count: Int, to sequence: PageTable.Sequence) {
    for entry in settled(of: sequence) { store.quantise(entry.page.number) }
    let first = table.tokens(of: sequence)
    for copy in table.append(count, to: sequence) where copy.rank == rank {
      store.copy(copy.source, to: copy.target)
    }
    guard type == .kivi4 else { return }
    for entry in table.entries(of: sequence)
    where entry.page.rank == rank && (entry.positions.last ?? 0) >= first {
      staged.remove(entry.page.number)
      store.open(entry.page.number)
    }
  }

  // MARK: Keys and values

  /// Writes keys and values of one layer: of some positions those that this rank keeps.
  ///
  /// - Parameters:
  ///   - keys: `[positions.count, kvHeads, headDim]`.
  ///   - values: `[positions.count, kvHeads, valueHeadDim]`.
  ///   - positions: of the sequence.
  public func write(
    keys: borrowing Span<Float>, values: borrowing Span<Float>, layer: Int,
    of sequence: PageTable.Sequence, at positions: PositionRange
  ) {
    let (keyWidth, valueWidth) = (
      shape.kvHeads * shape.headDim, shape.kvHeads * shape.valueHeadDim
    )
    precondition(
      keys.count == positions.count * keyWidth && values.count == positions.count * valueWidth,
      "keys and values of other positions")
    for entry in table.entries(of: sequence) where entry.page.rank == rank {
      guard let (index, local) = entry.positions.firstMeeting(positions) else { continue }
      let count = min(positions.count - index, entry.positions.count - local)
      store.write(
        entry.page.number, keys: keys.extracting(index * keyWidth..<(index + count) * keyWidth),
        values: values.extracting(index * valueWidth..<(index + count) * valueWidth),
        layer: layer, at: local,
        quantisingAt: staged.contains(entry.page.number) ? entry.positions.count : nil)
    }
  }

  /// Takes what this rank has of a sequence into the state of queries.
  ///
  /// - Parameters:
  ///   - first: only keys at positions below; nil for all.
  ///   - state: of the queries, with what they see.
  public func attend(
    _ queries: borrowing QueryShard, layer: Int, of sequence: PageTable.Sequence,
    below first: Int? = nil, to state: inout ForwardAccumulator
  ) {
    attend(queries, layer: layer, to: pages(of: [sequence]).shared, below: first, state: &state)
  }

  /// The same of some pages.
  func attend(
    _ queries: borrowing QueryShard, layer: Int, to pages: [SequencePages.Page],
    below first: Int? = nil, state: inout ForwardAccumulator
  ) {
    let seen = pages.compactMap { page -> SequencePages.Page? in
      var positions = page.positions
      if let first { positions = positions.prefix(positions.count { $0 < first }) }
      return positions.isEmpty ? nil : (page.number, positions)
    }
    store.attend(queries, to: seen, layer: layer, state: &state)
  }

  /// Copies what this rank has of a sequence at the positions of some runs of a block, packed as
  /// it is; integers of 4 bits are widened.
  ///
  /// - Parameters:
  ///   - block: of the type's ``CacheType/wire``.
  ///   - runs: indices of its runs.
  public func copy(
    _ sequence: PageTable.Sequence, layer: Int, to block: inout KeyValueBlock, runs: Range<Int>
  ) {
    for entry in table.entries(of: sequence) where entry.page.rank == rank {
      for run in runs {
        guard let (index, local) = entry.positions.firstMeeting(block.runs[run]) else { continue }
        let count = min(block.runs[run].count - index, entry.positions.count - local)
        store.copy(
          local..<local + count, of: entry.page.number, layer: layer, to: &block, run: run,
          from: index)
      }
    }
  }
}

extension PositionRange {
  /// The first position that another run has too, as an index of the other and of this; nil if
  /// there is none.
  ///
  /// Both have the same stride, or one position.
  fileprivate func firstMeeting(_ other: PositionRange) -> (other: Int, own: Int)? {
    guard let first, let last, let otherFirst = other.first, let otherLast = other.last,
      first <= otherLast, otherFirst <= last
    else { return nil }
    let meeting = Swift.max(first, otherFirst)
    guard contains(meeting), other.contains(meeting) else { return nil }
    precondition(stride == other.stride || count == 1 || other.count == 1, "runs of other strides")
    return ((meeting - otherFirst) / other.stride, (meeting - first) / stride)
  }
}
