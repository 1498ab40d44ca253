import AttentionTypes
import Compute
import Tensors

/// One block against few queries: the rows of all query heads that read a KV head are one tile, and
/// a unit is what one leaf of keys does to it, or what several short ones do, which are pages of a
/// cache.
///
/// A unit starts from rows that have seen nothing. What it finds out is added to their partial
/// results in the order of the leaves, so that one query of one head is shared by all threads, and
/// bits do not depend on their number. Fast sums of few keys have leaves shorter than in a
/// ``ForwardPass``, and round elsewhere.
///
/// Source: Dao et al. 2023, Flash-Decoding for long-context inference.
struct FewRowsPass: ThreadedPass {
  /// The rows of a KV head of a sequence.
  private struct RowTile {
    let batch: Int
    let kvHead: Int
    let segments: [RowSegment]
  }

  private let work: ForwardWork
  private let sums: any LeafSums.Type
  private let tiles: [RowTile]
  /// What units take in, one leaf after the other.
  private let leaves: [[Leaf]]
  private let rows: Int
  private let leafLength: Int
  private let slots: LeafSlots

  var unitCount: Int { tiles.count * leaves.count }

  /// Cuts a pass into units for a team of `threads`.
  init(_ work: ForwardWork, threads: Int) {
    let width = PackedPanel.width
    let tiles = Self.tiles(of: work)
    self.work = work
    self.tiles = tiles
    sums = work.accumulation.leafSums
    rows = work.rowsOfKVHead
    leafLength = Self.leafLength(of: work, tiles: tiles.count)
    leaves = Self.groups(of: work, length: leafLength)
    slots = LeafSlots(
      tiles: tiles.count, leaves: leaves.count, threads: threads,
      floats: rows * (2 + (work.shape.valueHeadDim + width - 1) / width * width))
  }

  /// Keys of a leaf: the more, the longer memory is read along one stream; but there have to be
  /// units for all threads, and scores of all rows lie in the second-level cache.
  ///
  /// It depends on the problem alone, so that bits do not on the threads.
  private static func leafLength(of work: ForwardWork, tiles: Int) -> Int {
    let keys = work.keyRuns.reduce(0) { $0 + $1.count }
    let isLong =
      work.accumulation == .fast && work.rowsOfKVHead <= 12
      && tiles * keys >= unitsOfLongLeaves * TileSizes.fastLeaf
    return isLong ? TileSizes.fastLeaf : Accumulation.leaf
  }

  /// Leaves that are units together: neighbours that are no longer than one.
  ///
  /// Reproducible sums are made leaf by leaf.
  private static func groups(of work: ForwardWork, length: Int) -> [[Leaf]] {
    var groups: [[Leaf]] = []
    var keys = length
    for leaf in Leaves(of: work.keyRuns, length: length) {
      keys += leaf.positions.count
      if keys > length || work.accumulation != .fast {
        groups.append([])
        keys = leaf.positions.count
      }
      groups[groups.count - 1].append(leaf)
    }
    return groups
  }

  /// So many that as many threads as a processor has end together.
  private static let unitsOfLongLeaves = 128

  /// All rows of each KV head, but for runs of queries that see nothing.
  private static func tiles(of work: ForwardWork) -> [RowTile] {
    let shape = work.shape
    var runs: [(firstToken: Int, positions: PositionRange)] = []
    var token = 0
    for run in work.queryRuns {
      if work.pattern.reaches(keys: work.keyRuns, queries: [run]) { runs.append((token, run)) }
      token += run.count
    }
    if runs.isEmpty { return [] }
    var tiles: [RowTile] = []
    for batch in 0..<shape.batch {
      for kvHead in 0..<shape.kvHeads {
        var segments: [RowSegment] = []
        for head in shape.queryHeads(of: kvHead) {
          for run in runs {
            segments.append(
              RowSegment(
                head: head, firstToken: run.firstToken, positions: run.positions,
                firstRow: segments.last?.rows.upperBound ?? 0))
          }
        }
        tiles.append(RowTile(batch: batch, kvHead: kvHead, segments: segments))
      }
    }
    return work.part.indices(of: tiles.count).map { tiles[$0] }
  }

  /// Takes units until there are none.
  func run(_ units: ThreadTeam.Units, poll: (_ scores: Int) -> Void) {
    var tile = FewRowsTile(
      shape: work.shape, rows: rows, leaf: leafLength,
      isExact: work.accumulation == .reproducible)
    var loaded: Int?
    while let unit = units.next() {
      let (index, leaf) = unit.quotientAndRemainder(dividingBy: leaves.count)
      let rows = tiles[index]
      if loaded != index { load(rows, to: &tile) }
      loaded = index
      let isSeen = attend(rows, to: leaves[leaf], tile: &tile, poll: poll)
      slots.put(isSeen ? tile.state : nil, of: unit, poll: poll) { state in
        add(state, of: rows)
      }
    }
  }

  private func load(_ rows: RowTile, to tile: inout FewRowsTile) {
    let (shape, tokens) = (work.shape, work.tokens)
    unsafe tile.load(
      queries: work.queries + rows.batch * tokens * shape.queryHeads * shape.headDim,
      queryHeads: shape.queryHeads, segments: rows.segments, scale: work.queryScale)
  }

  /// Finds out what some leaves do to rows, which are loaded.
  ///
  /// - Returns: whether any of them sees any of it; if not, the state of the tile means nothing.
  private func attend(
    _ rows: RowTile, to leaves: [Leaf], tile: inout FewRowsTile, poll: (_ scores: Int) -> Void
  ) -> Bool {
    var isSeen = false
    for leaf in leaves { attend(rows, to: leaf, tile: &tile, isSeen: &isSeen, poll: poll) }
    return isSeen
  }

  private func attend(
    _ rows: RowTile, to leaf: Leaf, tile: inout FewRowsTile, isSeen: inout Bool,
    poll: (_ scores: Int) -> Void
  ) {
    let (pattern, firstHead) = (work.pattern, work.shape.firstQueryHead)
    let packed = unsafe work.packedHead(leaf, batch: rows.batch, kvHead: rows.kvHead)
    for range in leaf.tiles(of: tile.keysAtOnce) {
      let keys = leaf.positions.slice(range)
      let coverage = coverage(keys: keys, rows)
      if coverage == .none { continue }
      if !isSeen { tile.clearState() }
      isSeen = true
      let masked = coverage == .some || pattern.hasBias
      unsafe tile.attend(
        to: packed, first: leaf.firstInRun + range.lowerBound, count: keys.count,
        mask: { segment in
          masked
            ? TileMask(
              pattern: pattern, keys: keys, queries: segment.positions, batch: rows.batch,
              head: firstHead + segment.head) : nil
        },
        rule: { segment in
          work.scoreRule.map {
            TileRule(
              rule: $0, batch: rows.batch, head: firstHead + segment.head, keys: keys,
              queries: segment.positions)
          }
        })
      poll(tile.rows * keys.count)
    }
  }

  /// What all rows see of some keys.
  private func coverage(keys: PositionRange, _ rows: RowTile) -> Coverage {
    func coverage(_ segment: RowSegment) -> Coverage {
      work.pattern.coverage(
        keys: keys, queries: segment.positions, batch: rows.batch,
        head: work.shape.firstQueryHead + segment.head)
    }
    guard let first = rows.segments.first else { return .none }
    let ofFirst = coverage(first)
    let others = rows.segments.dropFirst()
    return others.allSatisfy { coverage($0) == ofFirst } ? ofFirst : .some
  }

  /// Adds what rows have found out about a leaf to their results.
  private func add(_ state: LeafState, of rows: RowTile) {
    let (shape, tokens) = (work.shape, work.tokens)
    for segment in rows.segments {
      let token = segment.firstToken
      unsafe sums.add(
        state.slice(segment.rows), to: work.results,
        row: (rows.batch * shape.queryHeads + segment.head) * tokens + token,
        outputRow: (rows.batch * tokens + token) * shape.queryHeads + segment.head)
    }
  }
}

extension ForwardWork {
  /// Whether reading keys and values where they lie, once for all rows, is faster.
  var hasFewRows: Bool { rowsOfKVHead <= FewRowsTile.mostRows }
}
