import AttentionTypes
import Compute
import Tensors

/// One block against all queries of a rank, cut into units that threads can take independently.
///
/// A unit is a tile of queries of one head. It goes through the block's keys leaf by leaf, and adds
/// what each does to its rows to their partial results; no two units share a row.
struct ForwardPass<Element: Factor>: Sendable {
  /// A tile of queries of one head.
  struct Unit {
    let batch: Int
    let head: Int
    /// The first row, as a local index in the shard.
    let firstToken: Int
    let positions: PositionRange
  }

  let work: ForwardWork
  let keyLeaves: Leaves
  let sums: any LeafSums.Type
  let units: [Unit]

  var unitCount: Int { units.count }

  init(_ work: ForwardWork) {
    self.work = work
    sums = work.accumulation.leafSums
    keyLeaves = Leaves(of: work.keyRuns, length: sums.leaf)
    let units = Self.units(
      shape: work.shape, queryRuns: work.queryRuns, keyRuns: work.keyRuns, pattern: work.pattern)
    self.units = work.part.indices(of: units.count).map { units[$0] }
  }

  /// Cuts the queries into units, leaving out those that see nothing of the block.
  ///
  /// Where sequences and heads see alike, that is asked once for all of them.
  ///
  /// Late positions come first: under a causal mask they are the longest, and threads end
  /// together if the short ones come last. Heads that share keys are neighbours.
  private static func units(
    shape: AttentionShape, queryRuns: [PositionRange], keyRuns: [PositionRange],
    pattern: any AttentionPattern
  ) -> [Unit] {
    var tiles: [(firstToken: Int, positions: PositionRange)] = []
    var runStart = 0
    for run in queryRuns {
      for first in stride(from: 0, to: run.count, by: Element.queries) {
        let positions = run.slice(first..<min(first + Element.queries, run.count))
        if pattern.reaches(keys: keyRuns, queries: [positions]) {
          tiles.append((runStart + first, positions))
        }
      }
      runStart += run.count
    }
    var units: [Unit] = []
    units.reserveCapacity(shape.batch * shape.queryHeads * tiles.count)
    let seesAlike = !pattern.dependsOnBatch && !pattern.dependsOnHead
    for batch in 0..<shape.batch {
      for head in 0..<shape.queryHeads {
        for tile in tiles.reversed()
        where seesAlike
          || pattern.reaches(
            keys: keyRuns, queries: tile.positions, batch: batch,
            head: shape.firstQueryHead + head)
        {
          units.append(
            Unit(
              batch: batch, head: head, firstToken: tile.firstToken, positions: tile.positions))
        }
      }
    }
    return units
  }

  /// Takes units until there are none.
  func run(_ units: ThreadTeam.Units, poll: (_ scores: Int) -> Void) {
    var tile = ForwardTile<Element>(shape: work.shape)
    var keyTile = KeyTile<Element>(shape: work.shape)
    Element.beginPass()
    defer { Element.endPass() }
    while let index = units.next() {
      run(self.units[index], tile: &tile, keyTile: &keyTile, poll: poll)
    }
  }

  private func run(
    _ unit: Unit, tile: inout ForwardTile<Element>, keyTile: inout KeyTile<Element>,
    poll: (_ scores: Int) -> Void
  ) {
    load(unit, to: &tile)
    for leaf in keyLeaves {
      guard attend(unit, to: leaf, tile: &tile, keyTile: &keyTile, poll: poll) else { continue }
      add(tile.results.state, of: unit)
    }
  }

  /// Takes up the queries of a unit.
  func load(_ unit: Unit, to tile: inout ForwardTile<Element>) {
    let shape = work.shape
    unsafe tile.load(
      queries: work.queries + firstQuery(of: unit) * shape.headDim,
      stride: shape.queryHeads * shape.headDim, rows: unit.positions.count,
      scale: work.queryScale)
  }

  /// Finds out what a leaf does to the queries of a unit, which are loaded.
  ///
  /// - Returns: whether any of them sees any of it; if not, the state of the tile means nothing.
  func attend(
    _ unit: Unit, to leaf: Leaf, tile: inout ForwardTile<Element>,
    keyTile: inout KeyTile<Element>,
    poll: (_ scores: Int) -> Void
  ) -> Bool {
    let (shape, pattern) = (work.shape, work.pattern)
    let head = shape.firstQueryHead + unit.head
    let ofLeaf = pattern.coverage(
      keys: leaf.positions, queries: unit.positions, batch: unit.batch, head: head)
    if ofLeaf == .none { return false }
    let packed = unsafe work.packedHead(
      leaf, batch: unit.batch, kvHead: shape.kvHead(of: unit.head))
    /// Whether it can be found out which of some keys each row sees.
    func asks(_ range: Range<Int>, _ tile: inout ForwardTile<Element>) -> Bool {
      !pattern.hasBias
        && tile.ranges.ask(
          pattern, keys: leaf.positions.slice(range), from: range.lowerBound,
          queries: unit.positions, batch: unit.batch, head: head)
    }
    let knowsLeaf = ofLeaf == .some && asks(0..<leaf.positions.count, &tile)
    var isSeen = false
    for range in leaf.tiles(of: Element.keys) {
      var (part, coverage, knows) = (range, ofLeaf, knowsLeaf)
      if !knows && coverage == .some {
        coverage = pattern.coverage(
          keys: leaf.positions.slice(range), queries: unit.positions, batch: unit.batch,
          head: head)
        knows = coverage == .some && asks(range, &tile)
      }
      if knows {
        part = tile.ranges.visible(in: range)
        if part.isEmpty { continue }
        if tile.ranges.allSee(part) { (coverage, knows) = (.all, false) }
      }
      if coverage == .none { continue }
      if !isSeen { tile.clearState() }
      isSeen = true
      let keys = leaf.positions.slice(part)
      let rule = work.scoreRule.map {
        TileRule(rule: $0, batch: unit.batch, head: head, keys: keys, queries: unit.positions)
      }
      unsafe keyTile.load(packed, first: leaf.firstInRun + part.lowerBound, count: keys.count)
      tile.ahead = unsafe keysAhead(
        of: range, in: leaf, packed, sees: ofLeaf, knows: knowsLeaf, tile)
      if knows {
        unsafe tile.attend(to: keyTile, keys: part, rule: rule)
      } else {
        let mask =
          coverage == .some || pattern.hasBias
          ? TileMask(
            pattern: pattern, keys: keys, queries: unit.positions, batch: unit.batch, head: head)
          : nil
        unsafe tile.attend(to: keyTile, mask: mask, rule: rule)
      }
      poll(unit.positions.count * keys.count)
    }
    if isSeen, Element.roundsWeights { tile.results.settleRoundedWeights() }
    return isSeen
  }

  /// The keys of a leaf that a unit's rows see after some, of as many; nil for none, or where that
  /// is not known.
  @unsafe
  private func keysAhead(
    of range: Range<Int>, in leaf: Leaf, _ packed: PackedHead, sees coverage: Coverage, knows: Bool,
    _ tile: borrowing ForwardTile<Element>
  ) -> KeysAhead? {
    var next = range.upperBound..<min(range.upperBound + Element.keys, leaf.positions.count)
    if coverage == .some { next = knows && !next.isEmpty ? tile.ranges.visible(in: next) : 0..<0 }
    if next.isEmpty { return nil }
    let panels = (Element.keys + TileSizes.panelWidth - 1) / TileSizes.panelWidth
    return unsafe KeysAhead(
      packed, keys: leaf.firstInRun + next.lowerBound..<leaf.firstInRun + next.upperBound,
      shape: work.shape, times: tile.groups * panels)
  }

  /// Adds what the rows of a unit have found out about a leaf.
  func add(_ state: LeafState, of unit: Unit) {
    unsafe sums.add(
      state, to: work.results,
      row: (unit.batch * work.shape.queryHeads + unit.head) * work.tokens + unit.firstToken,
      outputRow: firstQuery(of: unit))
  }

  /// Its first row, `[batch, tokens, queryHeads]`.
  private func firstQuery(of unit: Unit) -> Int {
    (unit.batch * work.tokens + unit.firstToken) * work.shape.queryHeads + unit.head
  }
}

extension ForwardWork {
  /// The packed keys and values that a leaf is part of.
  @unsafe
  func packedHead(_ leaf: Leaf, batch: Int, kvHead: Int) -> PackedHead {
    unsafe heads[(leaf.run * shape.batch + batch) * shape.kvHeads + kvHead]
  }
}
