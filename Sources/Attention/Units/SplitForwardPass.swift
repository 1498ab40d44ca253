import Compute
import Tensors

/// One block against few queries, cut into units over its keys too.
///
/// Where there are fewer tiles of queries than threads can share, a unit is one leaf of keys: it
/// starts from queries that have seen nothing, and what it finds out is added to their partial
/// results in the order of the leaves. With the leaves of a ``ForwardPass``, bits are the same as
/// there, whatever the number of threads.
///
/// Where the rows of all query heads that read a KV head are few, they are one tile, so that memory
/// is read once for all of them. Its leaves are shorter, of the length of reproducible ones, so that
/// there are enough of them; fast sums then round elsewhere.
///
/// Source: Dao et al. 2023, Flash-Decoding for long-context inference.
struct SplitForwardPass: ThreadedPass {
  /// Rows of queries that meet keys together.
  private struct RowTile {
    let batch: Int
    let kvHead: Int
    /// Few rows, of all heads.
    var segments: [RowSegment] = []
    /// Many rows, of one head.
    var unit: ForwardPass.Unit?
  }

  private let pass: ForwardPass
  private let tiles: [RowTile]
  private let leaves: [Leaf]
  /// Rows of a tile at most.
  private let capacity: Int
  private let slots: LeafSlots

  var unitCount: Int { tiles.count * leaves.count }

  /// The units of a pass, if it is better cut over the keys too; nil if it has enough as it is.
  init?(_ pass: ForwardPass, threads: Int) {
    let height = TileSizes.registerRows
    if let tiles = Self.fewRows(of: pass) {
      self.tiles = tiles
      leaves = Array(Leaves(of: pass.keyRuns, length: TileSizes.leaf))
      let rows = tiles.map { $0.segments.last?.rows.upperBound ?? 0 }.max() ?? 0
      // The last strip may have three rows too many.
      capacity = (rows + 3 + height - 1) / height * height
    } else if threads > 1, pass.unitCount < Self.unitsPerThread * threads {
      tiles = pass.units.map {
        RowTile(batch: $0.batch, kvHead: pass.shape.kvHead(of: $0.head), unit: $0)
      }
      leaves = Array(pass.keyLeaves)
      if leaves.count == 1 { return nil }
      capacity = TileSizes.queries
    } else {
      return nil
    }
    self.pass = pass
    let width = TileSizes.panelWidth
    slots = LeafSlots(
      tiles: tiles.count, leaves: leaves.count, slots: Self.slotsPerThread * threads,
      floats: LeafState.floatCount(
        rows: capacity, valuePanels: (pass.shape.valueHeadDim + width - 1) / width) + 1)
  }

  /// So many that threads end together.
  private static let unitsPerThread = 4
  /// So many that threads that are ahead need not wait.
  private static let slotsPerThread = 4

  /// Tiles of all query rows of a KV head; nil if there are too many rows.
  private static func fewRows(of pass: ForwardPass) -> [RowTile]? {
    let shape = pass.shape
    guard shape.groupSize * pass.tokens <= ForwardTile.mostFewRows else { return nil }
    var runs: [(firstToken: Int, positions: PositionRange)] = []
    var token = 0
    for run in pass.queryRuns {
      if pass.pattern.reaches(keys: pass.keyRuns, queries: [run]) { runs.append((token, run)) }
      token += run.count
    }
    if runs.isEmpty { return [] }
    var tiles: [RowTile] = []
    for batch in 0..<shape.batch {
      for kvHead in 0..<shape.kvHeads {
        var tile = RowTile(batch: batch, kvHead: kvHead)
        var row = 0
        for head in shape.queryHeads(of: kvHead) {
          for run in runs {
            tile.segments.append(
              RowSegment(
                head: head, firstToken: run.firstToken, positions: run.positions, firstRow: row))
            row += run.positions.count
          }
        }
        tiles.append(tile)
      }
    }
    return pass.part.indices(of: tiles.count).map { tiles[$0] }
  }

  // MARK: Units

  /// Takes units until there are none.
  func run(_ units: ThreadTeam.Units, poll: (_ scores: Int) -> Void) {
    var tile = ForwardTile(shape: pass.shape, capacity: capacity)
    // Few rows are in all tiles, or in none.
    if tiles.first?.unit != nil {
      var keyTile = KeyTile(shape: pass.shape)
      run(units, tile: &tile, poll: poll) { rows, leaf, tile in
        guard let unit = rows.unit else { return false }
        return pass.attend(unit, to: leaf, tile: &tile, keyTile: &keyTile, poll: poll)
      }
    } else {
      let scratch = AlignedBuffer<Float>(
        zeros: TileSizes.panelWidth * max(TileSizes.keys, pass.shape.headDim))
      run(units, tile: &tile, poll: poll) { rows, leaf, tile in
        attend(rows, to: leaf, tile: &tile, scratch: scratch, poll: poll)
      }
    }
  }

  private func run(
    _ units: ThreadTeam.Units, tile: inout ForwardTile, poll: (_ scores: Int) -> Void,
    attend: (RowTile, Leaf, inout ForwardTile) -> Bool
  ) {
    var loaded: Int?
    while let unit = units.next() {
      let (index, leaf) = unit.quotientAndRemainder(dividingBy: leaves.count)
      if loaded != index { load(tiles[index], to: &tile) }
      loaded = index
      let isSeen = attend(tiles[index], leaves[leaf], &tile)
      let slot = unsafe slots.slot(of: unit, poll: poll)
      unsafe slot[0] = isSeen ? 1 : 0
      if isSeen { unsafe tile.state.copy(to: state(slot + 1, rows: tile.rows)) }
      slots.finish(unit) { unit, slot in
        if unsafe slot[0] == 0 { return }
        unsafe add(slot + 1, of: tiles[unit / leaves.count])
      }
    }
  }

  private func load(_ rows: RowTile, to tile: inout ForwardTile) {
    if let unit = rows.unit {
      pass.load(unit, to: &tile)
    } else {
      let shape = pass.shape
      unsafe tile.load(
        queries: pass.queries + rows.batch * pass.tokens * shape.queryHeads * shape.headDim,
        queryHeads: shape.queryHeads, segments: rows.segments, scale: pass.scale)
    }
  }

  /// Finds out what a leaf does to few rows, which are loaded.
  ///
  /// - Returns: whether any of them sees any of it.
  private func attend(
    _ rows: RowTile, to leaf: Leaf, tile: inout ForwardTile,
    scratch: borrowing AlignedBuffer<Float>, poll: (_ scores: Int) -> Void
  ) -> Bool {
    let (shape, pattern) = (pass.shape, pass.pattern)
    let packed = unsafe pass.packedHead(leaf, batch: rows.batch, kvHead: rows.kvHead)
    var isSeen = false
    for range in leaf.tiles(of: TileSizes.keys) {
      let keys = leaf.positions.slice(range)
      let coverage = coverage(keys: keys, rows)
      if coverage == .none { continue }
      if !isSeen { tile.clearState() }
      isSeen = true
      let masked = coverage == .some || pattern.hasBias
      unsafe tile.attend(
        to: packed, first: leaf.firstInRun + range.lowerBound, count: keys.count,
        segments: rows.segments, exactly: pass.kind.granularity > 1, scratch: scratch,
        mask: { rows in
          masked
            ? TileMask(
              pattern: pattern, keys: keys, queries: rows.positions,
              head: shape.firstQueryHead + rows.head) : nil
        },
        rule: { segment in
          pass.scoreRule.map {
            TileRule(
              rule: $0, batch: rows.batch, head: shape.firstQueryHead + segment.head, keys: keys,
              queries: segment.positions)
          }
        })
      poll(tile.rows * keys.count)
    }
    return isSeen
  }

  /// What all rows of a tile see of some keys, which is the same for every head.
  private func coverage(keys: PositionRange, _ rows: RowTile) -> Coverage {
    guard let first = rows.segments.first else { return .none }
    let coverage = pass.pattern.coverage(keys: keys, queries: first.positions)
    for segment in rows.segments.dropFirst() where segment.head == first.head {
      if pass.pattern.coverage(keys: keys, queries: segment.positions) != coverage { return .some }
    }
    return coverage
  }

  // MARK: Results

  /// A state in a slot.
  @unsafe
  private func state(_ memory: UnsafeMutablePointer<Float>, rows: Int) -> LeafState {
    let width = TileSizes.panelWidth
    return unsafe LeafState(
      memory, rows: rows, valuePanels: (pass.shape.valueHeadDim + width - 1) / width)
  }

  /// Adds what is known of a tile's rows to their results.
  @unsafe
  private func add(_ memory: UnsafeMutablePointer<Float>, of tile: RowTile) {
    if let unit = tile.unit {
      let state = unsafe state(memory, rows: unit.positions.count)
      unsafe add(state, batch: tile.batch, head: unit.head, firstToken: unit.firstToken)
      return
    }
    let state = unsafe state(memory, rows: tile.segments.last?.rows.upperBound ?? 0)
    for segment in tile.segments {
      unsafe add(
        state.slice(segment.rows), batch: tile.batch, head: segment.head,
        firstToken: segment.firstToken)
    }
  }

  @unsafe
  private func add(_ state: LeafState, batch: Int, head: Int, firstToken: Int) {
    let (shape, tokens) = (pass.shape, pass.tokens)
    unsafe pass.kind.add(
      state, to: pass.results, row: (batch * shape.queryHeads + head) * tokens + firstToken,
      outputRow: (batch * tokens + firstToken) * shape.queryHeads + head)
  }
}
