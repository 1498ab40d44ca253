import Compute
import Tensors

/// One block against all queries of a rank, cut into units that threads can take independently.
///
/// A unit is a tile of queries of one head. It goes through the block's keys leaf by leaf, and adds
/// what each does to its rows to their partial results; no two units share a row.
///
/// It holds plain addresses: whoever creates it keeps the tensors alive until it has run.
@safe
struct ForwardPass: ThreadedPass, @unchecked Sendable {
  /// A tile of queries of one head.
  struct Unit {
    let batch: Int
    let head: Int
    /// The first row, as a local index in the shard.
    let firstToken: Int
    let positions: PositionRange
  }

  let shape: AttentionShape
  let scale: Float
  let pattern: any AttentionPattern
  let scoreRule: (any ScoreRule)?
  let tokens: Int
  let queries: UnsafePointer<Float>
  let heads: [PackedHead]
  let queryRuns: [PositionRange]
  let keyRuns: [PositionRange]
  let part: BlockPart
  let keyLeaves: Leaves
  let kind: any SumKind.Type
  let results: ResultRows
  let units: [Unit]

  var unitCount: Int { units.count }

  @unsafe
  init(
    shape: AttentionShape, scale: Float, pattern: any AttentionPattern,
    scoreRule: (any ScoreRule)?, tokens: Int, queryRuns: [PositionRange],
    queries: UnsafePointer<Float>, heads: [PackedHead],
    keyRuns: [PositionRange], kind: any SumKind.Type, results: ResultRows, part: BlockPart
  ) {
    self.shape = shape
    self.scale = scale
    self.pattern = pattern
    self.scoreRule = scoreRule
    self.tokens = tokens
    unsafe self.queries = queries
    unsafe self.heads = heads
    self.queryRuns = queryRuns
    self.keyRuns = keyRuns
    self.part = part
    keyLeaves = Leaves(of: keyRuns, length: kind.leaf)
    self.kind = kind
    unsafe self.results = results
    let units = Self.units(
      shape: shape, queryRuns: queryRuns, keyRuns: keyRuns, pattern: pattern)
    self.units = part.indices(of: units.count).map { units[$0] }
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
      for first in stride(from: 0, to: run.count, by: TileSizes.queries) {
        let positions = run.slice(first..<min(first + TileSizes.queries, run.count))
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
    var tile = ForwardTile(shape: shape)
    var keyTile = KeyTile(shape: shape)
    while let index = units.next() {
      run(self.units[index], tile: &tile, keyTile: &keyTile, poll: poll)
    }
  }

  private func run(
    _ unit: Unit, tile: inout ForwardTile, keyTile: inout KeyTile,
    poll: (_ scores: Int) -> Void
  ) {
    let firstQuery = (unit.batch * tokens + unit.firstToken) * shape.queryHeads + unit.head
    let firstState = (unit.batch * shape.queryHeads + unit.head) * tokens + unit.firstToken
    load(unit, to: &tile)
    for leaf in keyLeaves {
      guard attend(unit, to: leaf, tile: &tile, keyTile: &keyTile, poll: poll) else { continue }
      unsafe kind.add(tile.state, to: results, row: firstState, outputRow: firstQuery)
    }
  }

  /// Takes up the queries of a unit.
  func load(_ unit: Unit, to tile: inout ForwardTile) {
    let firstQuery = (unit.batch * tokens + unit.firstToken) * shape.queryHeads + unit.head
    unsafe tile.load(
      queries: queries + firstQuery * shape.headDim, stride: shape.queryHeads * shape.headDim,
      rows: unit.positions.count, scale: scale)
  }

  /// Finds out what a leaf does to the queries of a unit, which are loaded.
  ///
  /// - Returns: whether any of them sees any of it; the state of the tile means nothing otherwise.
  func attend(
    _ unit: Unit, to leaf: Leaf, tile: inout ForwardTile, keyTile: inout KeyTile,
    poll: (_ scores: Int) -> Void
  ) -> Bool {
    let packed = unsafe packedHead(leaf, batch: unit.batch, kvHead: shape.kvHead(of: unit.head))
    let head = shape.firstQueryHead + unit.head
    var isSeen = false
    for range in leaf.tiles(of: TileSizes.keys) {
      let keys = leaf.positions.slice(range)
      let coverage = pattern.coverage(keys: keys, queries: unit.positions)
      if coverage == .none { continue }
      if !isSeen { tile.clearState() }
      isSeen = true
      let masked = coverage == .some || pattern.hasBias
      let mask =
        masked
        ? TileMask(pattern: pattern, keys: keys, queries: unit.positions, head: head) : nil
      let rule = scoreRule.map {
        TileRule(rule: $0, batch: unit.batch, head: head, keys: keys, queries: unit.positions)
      }
      unsafe keyTile.load(packed, first: leaf.firstInRun + range.lowerBound, count: keys.count)
      unsafe tile.attend(to: keyTile, mask: mask, rule: rule)
      poll(unit.positions.count * keys.count)
    }
    return isSeen
  }

  /// The packed keys and values that a leaf is part of.
  @unsafe
  func packedHead(_ leaf: Leaf, batch: Int, kvHead: Int) -> PackedHead {
    unsafe heads[(leaf.run * shape.batch + batch) * shape.kvHeads + kvHead]
  }
}
