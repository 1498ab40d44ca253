import AttentionTypes
import Compute
import Tensors

/// One block against all queries of a rank, cut into units that threads can take independently.
///
/// A unit is a tile of queries of one head. It goes through the block's keys leaf by leaf, and adds
/// what each does to its rows to their partial results; no two units share a row.
struct ForwardPass<Element: Factor>: Sendable {
  /// A tile of queries of one head.
  private struct Unit {
    let batch: Int
    let head: Int
    /// The first row, as a local index in the shard.
    let firstToken: Int
    let positions: PositionRange
  }

  private let work: ForwardWork
  private let keyLeaves: Leaves
  private let sums: any LeafSums.Type
  private let units: [Unit]

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
    for batch in 0..<shape.batch {
      for head in 0..<shape.queryHeads {
        for tile in tiles.reversed() {
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
    while let index = units.next() {
      run(self.units[index], tile: &tile, keyTile: &keyTile, poll: poll)
    }
  }

  private func run(
    _ unit: Unit, tile: inout ForwardTile<Element>, keyTile: inout KeyTile<Element>,
    poll: (_ scores: Int) -> Void
  ) {
    let (shape, pattern) = (work.shape, work.pattern)
    let rows = unit.positions.count
    let firstQuery = (unit.batch * work.tokens + unit.firstToken) * shape.queryHeads + unit.head
    let firstState = (unit.batch * shape.queryHeads + unit.head) * work.tokens + unit.firstToken
    let kvHead = shape.kvHead(of: unit.head)
    unsafe tile.load(
      queries: work.queries + firstQuery * shape.headDim,
      stride: shape.queryHeads * shape.headDim, rows: rows, scale: work.queryScale)
    for leaf in keyLeaves {
      let packed = unsafe work.heads[
        (leaf.run * shape.batch + unit.batch) * shape.kvHeads + kvHead]
      var isSeen = false
      for range in leaf.tiles(of: TileSizes.keys) {
        let keys = leaf.positions.slice(range)
        let coverage = pattern.coverage(keys: keys, queries: unit.positions)
        if coverage == .none { continue }
        if !isSeen { tile.clearState() }
        isSeen = true
        let head = shape.firstQueryHead + unit.head
        let masked = coverage == .some || pattern.hasBias
        let mask =
          masked
          ? TileMask(pattern: pattern, keys: keys, queries: unit.positions, head: head) : nil
        let rule = work.scoreRule.map {
          TileRule(rule: $0, batch: unit.batch, head: head, keys: keys, queries: unit.positions)
        }
        let first = leaf.firstInRun + range.lowerBound
        let isDone = unsafe Element.readInPlace(
          packed, first: first, count: keys.count, mask: mask, rule: rule, by: &tile)
        if !isDone {
          unsafe keyTile.load(packed, first: first, count: keys.count)
          unsafe tile.attend(to: keyTile, mask: mask, rule: rule)
        }
        poll(rows * keys.count)
      }
      guard isSeen else { continue }
      if Element.roundsWeights { tile.results.settleRoundedWeights() }
      unsafe sums.add(
        tile.results, to: work.results, row: firstState, outputRow: firstQuery)
    }
  }
}
