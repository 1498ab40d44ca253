public import Sharding
public import Tensors

/// Which rank keeps which tokens of which sequences, in pages: the table of PagedAttention, over
/// ranks.
///
/// A page has room for ``pageTokens`` tokens and lies at one rank for as long as it is in use. A
/// new one goes to the rank that has fewest in use, the first of several. Sequences share pages
/// after a fork; whoever then appends to a shared page gets a copy of it, at the same rank, so that
/// nothing travels. Nothing else ever moves.
///
/// It is a value that every rank works out for itself, so that nobody is told anything. Each
/// operation costs O(pages of the sequence) at most; a token costs none, a page a search of the
/// ranks.
///
/// Source: Kwon et al. 2023, PagedAttention, sections 4.2 to 4.4.
public struct PageTable: Sendable {
  /// A sequence, from its creation to its release.
  public struct Sequence: Hashable, Sendable {
    fileprivate let number: Int
  }

  /// A page at its rank; numbers are used again, the lowest first.
  public struct Page: Hashable, Sendable {
    /// Where it lies.
    public let rank: Int
    /// From 0 on.
    public let number: Int
  }

  /// What a sequence has of a page.
  public struct Entry: Hashable, Sendable {
    /// The page.
    public let page: Page
    /// Those of its first tokens.
    public internal(set) var positions: PositionRange
  }

  /// A page that gets a copy of the first tokens of another of the same rank.
  public struct Copy: Hashable, Sendable {
    /// Numbers of pages.
    public let source, target: Int
    /// Where both lie.
    public let rank: Int
  }

  /// Tokens of a page.
  public let pageTokens: Int
  /// Pages of each rank that are in use.
  public private(set) var loads: [Int]
  /// For each rank, how many sequences use each of the pages that there have been.
  private var references: [[Int]]
  private var sequences: [Int: Rows] = [:]
  private var created = 0

  private struct Rows {
    var entries: [Entry] = []
    /// How long it is, whether or not all of its tokens are kept.
    var tokens = 0
  }

  /// A table without sequences.
  ///
  /// - Parameter pageTokens: a multiple of 16, from 16 to 256.
  public init(pageTokens: Int, ranks: Int) {
    precondition(Self.allows(pageTokens: pageTokens), "pages of \(pageTokens) tokens")
    precondition(ranks >= 1, "pages need a rank to hold them")
    self.pageTokens = pageTokens
    loads = Array(repeating: 0, count: ranks)
    references = Array(repeating: [], count: ranks)
  }

  /// Whether pages may have so many tokens.
  public static func allows(pageTokens: Int) -> Bool {
    (16...256).contains(pageTokens) && pageTokens % 16 == 0
  }

  // MARK: What there is

  /// The sequences that there are, in the order of their creation.
  public var allSequences: [Sequence] { sequences.keys.sorted().map(Sequence.init) }

  /// How long a sequence is.
  public func tokens(of sequence: Sequence) -> Int { rows(sequence).tokens }

  /// What is kept of a sequence, no position twice.
  public func entries(of sequence: Sequence) -> [Entry] { rows(sequence).entries }

  /// Pages of a rank that there have been at once, at most: what it has memory for.
  public func pageCount(of rank: Int) -> Int { references[rank].count }

  /// Sequences that use a page.
  public func references(to page: Page) -> Int { references[page.rank][page.number] }

  private func rows(_ sequence: Sequence) -> Rows {
    guard let rows = sequences[sequence.number] else {
      preconditionFailure("the sequence has been released")
    }
    return rows
  }

  // MARK: Sequences

  /// A sequence without tokens.
  public mutating func create() -> Sequence { add(Rows()) }

  /// A sequence whose tokens lie where a sharding has them.
  ///
  /// - Parameters:
  ///   - prompt: each run is cut into pages by itself, so that a rank wastes less than a page a
  ///     run.
  ///   - hidden: positions that nobody will ever ask for; pages of nothing else are left out.
  public mutating func create(
    prompt: Sharding, hiding hidden: Range<Int> = 0..<0
  ) -> Sequence {
    let sequence = create()
    append(prompt, to: sequence, hiding: hidden)
    return sequence
  }

  /// Makes a sequence longer by tokens that lie where a sharding has them.
  ///
  /// - Parameters:
  ///   - piece: shards of the positions from the sequence's end on, as far as it will then be long;
  ///     each run is cut into pages by itself.
  ///   - hidden: positions that nobody will ask for after those; pages of nothing else are left
  ///     out.
  public mutating func append(
    _ piece: Sharding, to sequence: Sequence, hiding hidden: Range<Int> = 0..<0
  ) {
    var rows = rows(sequence)
    let first = rows.tokens
    for (rank, runs) in piece.shards.enumerated() {
      for run in runs {
        precondition(run.start >= first, "tokens that the sequence has")
        for first in stride(from: 0, to: run.count, by: pageTokens) {
          let positions = run.slice(first..<min(first + pageTokens, run.count))
          if positions.lies(in: hidden) { continue }
          rows.entries.append(Entry(page: take(at: rank), positions: positions))
        }
      }
    }
    rows.tokens = piece.tokens
    sequences[sequence.number] = rows
  }

  /// How many pages of each rank ``create(prompt:hiding:)`` takes.
  ///
  /// - Complexity: O(runs).
  public static func pageCounts(
    of prompt: Sharding, pageTokens: Int, hiding hidden: Range<Int> = 0..<0
  ) -> [Int] {
    func pages(_ run: PositionRange) -> Int {
      let all = (run.count + pageTokens - 1) / pageTokens
      // Indices of the run that are hidden, and pages of nothing else.
      func index(_ position: Int) -> Int {
        min(max(0, (position - run.start + run.stride - 1) / run.stride), run.count)
      }
      let (lower, upper) = (index(hidden.lowerBound), index(hidden.upperBound))
      let first = (lower + pageTokens - 1) / pageTokens
      let end = upper == run.count ? all : upper / pageTokens
      return all - max(0, end - first)
    }
    return prompt.shards.map { $0.reduce(0) { $0 + pages($1) } }
  }

  /// A sequence that begins as another does, and shares its pages.
  ///
  /// - Parameter tokens: how many of its tokens; nil for all.
  public mutating func fork(_ sequence: Sequence, tokens: Int? = nil) -> Sequence {
    let rows = rows(sequence)
    let count = tokens ?? rows.tokens
    precondition((0...rows.tokens).contains(count), "a sequence has no \(count) tokens")
    var other = Rows(tokens: count)
    for var entry in rows.entries {
      entry.positions = entry.positions.prefix(entry.positions.count { $0 < count })
      if entry.positions.isEmpty { continue }
      references[entry.page.rank][entry.page.number] += 1
      other.entries.append(entry)
    }
    return add(other)
  }

  /// Ends a sequence; pages that nobody else uses are free then.
  public mutating func release(_ sequence: Sequence) {
    for entry in rows(sequence).entries { leave(entry.page) }
    sequences[sequence.number] = nil
  }

  /// Gives up pages that hold only positions that nobody will ask for again.
  public mutating func release(_ positions: Range<Int>, of sequence: Sequence) {
    var rows = rows(sequence)
    // The page that is being filled stays.
    let open = tail(of: rows)
    if !rows.entries.contains(where: { $0.positions.lies(in: positions) }) { return }
    var kept: [Entry] = []
    for (index, entry) in rows.entries.enumerated() {
      if index != open, entry.positions.lies(in: positions) {
        leave(entry.page)
      } else {
        kept.append(entry)
      }
    }
    rows.entries = kept
    sequences[sequence.number] = rows
  }

  /// Makes a sequence longer.
  ///
  /// - Returns: pages that are to be copied before anything is written; at most one.
  public mutating func append(_ count: Int, to sequence: Sequence) -> [Copy] {
    var rows = rows(sequence)
    var copies: [Copy] = []
    let end = rows.tokens + count
    while rows.tokens < end {
      let index = openEntry(of: &rows, &copies)
      let positions = rows.entries[index].positions
      let added = min(pageTokens - positions.count, end - rows.tokens)
      rows.entries[index].positions = PositionRange(
        start: positions.start, count: positions.count + added)
      rows.tokens += added
    }
    sequences[sequence.number] = rows
    return copies
  }

  /// The entry that the next token goes to, which is made if there is none or others use its page.
  private mutating func openEntry(of rows: inout Rows, _ copies: inout [Copy]) -> Int {
    guard let index = tail(of: rows) else {
      let page = takeAnywhere()
      rows.entries.append(Entry(page: page, positions: PositionRange(start: rows.tokens, count: 0)))
      return rows.entries.count - 1
    }
    let entry = rows.entries[index]
    if references(to: entry.page) > 1 {
      let page = take(at: entry.page.rank)
      copies.append(
        Copy(source: entry.page.number, target: page.number, rank: page.rank))
      leave(entry.page)
      rows.entries[index] = Entry(page: page, positions: entry.positions)
    }
    return index
  }

  /// The entry that ends where the sequence does and has room; nil if there is none.
  private func tail(of rows: Rows) -> Int? {
    rows.entries.lastIndex { entry in
      let positions = entry.positions
      return positions.isContiguous && positions.count < pageTokens
        && positions.start + positions.count == rows.tokens
    }
  }

  private mutating func add(_ rows: Rows) -> Sequence {
    defer { created += 1 }
    sequences[created] = rows
    return Sequence(number: created)
  }

  // MARK: Pages

  private mutating func takeAnywhere() -> Page {
    take(at: loads.indices.min { loads[$0] < loads[$1] } ?? 0)
  }

  private mutating func take(at rank: Int) -> Page {
    loads[rank] += 1
    guard let number = free(at: rank) else {
      references[rank].append(1)
      return Page(rank: rank, number: references[rank].count - 1)
    }
    references[rank][number] = 1
    return Page(rank: rank, number: number)
  }

  /// The lowest number that is free.
  private func free(at rank: Int) -> Int? {
    // As many are in use as there are: nothing to look for.
    loads[rank] > references[rank].count ? nil : references[rank].firstIndex(of: 0)
  }

  private mutating func leave(_ page: Page) {
    references[page.rank][page.number] -= 1
    if references[page.rank][page.number] == 0 { loads[page.rank] -= 1 }
  }
}

extension PositionRange {
  /// Whether all positions are in a range.
  fileprivate func lies(in range: Range<Int>) -> Bool {
    guard let first, let last else { return true }
    return range.contains(first) && range.contains(last)
  }
}
