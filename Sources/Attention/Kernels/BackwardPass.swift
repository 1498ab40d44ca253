import Glibc
import Synchronization
import Tensors

/// One block against all queries of a rank, backward, cut into units that threads take.
///
/// A unit is a tile of keys of one KV head: it alone writes the gradients of its keys and values.
/// Gradients of queries are added to by many units. They take turns: for each tile of queries the
/// units of one head add in the order of their keys, so the result is the same bits for any number
/// of threads. A unit goes through the queries in ascending order and the units start in
/// ascending order, so the one before is normally ahead and nobody waits. They add to what rounding
/// has taken from the gradients, which is settled after some turns and after the last.
///
/// It holds plain addresses: whoever creates it keeps the tensors alive until it has run.
@safe
struct BackwardPass: ThreadedPass, @unchecked Sendable {
  /// A tile of keys of one head.
  private struct Unit {
    let batch: Int
    let kvHead: Int
    let run: Int
    /// The first key, as a local index in the run.
    let firstKey: Int
    /// The tile's place among all tiles of keys.
    let turn: Int
  }

  private struct QueryTile {
    let firstToken: Int
    let positions: PositionRange
  }

  private let shape: AttentionShape
  private let pattern: any AttentionPattern
  private let queryScale: Float
  private let tokens: Int
  private let keyRuns: [PositionRange]
  private let heads: [PackedHead]
  private let rows: BackwardRows
  private let dq: CompensatedSums
  private let dk: UnsafeMutablePointer<Float>
  private let dv: UnsafeMutablePointer<Float>
  private let keyCount: Int
  private let queryTiles: [QueryTile]
  /// For each run of keys, how many tiles those before it have.
  private let firstTiles: [Int]
  /// Which tiles of keys are the units' turns.
  private let part: BlockPart
  private let turns: Turns
  private let turnCount: Int

  /// Units are made as they are asked for: there can be many millions of tiles of keys.
  let unitCount: Int

  @unsafe
  init(
    shape: AttentionShape, pattern: any AttentionPattern, queryScale: Float, tokens: Int,
    queryRuns: [PositionRange], keyRuns: [PositionRange], heads: [PackedHead],
    rows: BackwardRows, dq: CompensatedSums, dk: UnsafeMutablePointer<Float>,
    dv: UnsafeMutablePointer<Float>, keyCount: Int, part: BlockPart
  ) {
    self.shape = shape
    self.pattern = pattern
    self.queryScale = queryScale
    self.tokens = tokens
    self.keyRuns = keyRuns
    unsafe self.heads = heads
    unsafe self.rows = rows
    unsafe self.dq = dq
    unsafe self.dk = dk
    unsafe self.dv = dv
    self.keyCount = keyCount
    var queryTiles: [QueryTile] = []
    var runStart = 0
    for run in queryRuns {
      for first in stride(from: 0, to: run.count, by: TileSizes.backwardQueries) {
        queryTiles.append(
          QueryTile(
            firstToken: runStart + first,
            positions: run.slice(first..<min(first + TileSizes.backwardQueries, run.count))))
      }
      runStart += run.count
    }
    self.queryTiles = queryTiles
    var tileCount = 0
    firstTiles = keyRuns.map { run in
      defer { tileCount += (run.count + TileSizes.backwardKeys - 1) / TileSizes.backwardKeys }
      return tileCount
    }
    self.part = part
    turnCount = part.count(of: tileCount)
    unitCount = turnCount * shape.batch * shape.kvHeads
    turns = Turns(count: shape.batch * shape.queryHeads * queryTiles.count)
  }

  /// Neighbouring units belong to different heads, so that they do not wait for each other.
  private func unit(_ index: Int) -> Unit {
    let (turn, head) = index.quotientAndRemainder(dividingBy: shape.batch * shape.kvHeads)
    let tile = part.index(turn)
    var (run, end) = (0, keyRuns.count)
    // The last run whose first tile is not after this one.
    while end - run > 1 {
      let middle = (run + end) / 2
      if firstTiles[middle] <= tile { run = middle } else { end = middle }
    }
    return Unit(
      batch: head / shape.kvHeads, kvHead: head % shape.kvHeads, run: run,
      firstKey: (tile - firstTiles[run]) * TileSizes.backwardKeys, turn: turn)
  }

  /// Takes units until there are none.
  func run(_ units: ThreadTeam.Units, poll: (_ scores: Int) -> Void) {
    var keyTile = KeyTile(shape: shape)
    var tile = BackwardTile(shape: shape)
    while let index = units.next() {
      run(unit(index), keyTile: &keyTile, tile: &tile, poll: poll)
    }
  }

  private func run(
    _ unit: Unit, keyTile: inout KeyTile, tile: inout BackwardTile, poll: (_ scores: Int) -> Void
  ) {
    let run = keyRuns[unit.run]
    let keys = run.slice(
      unit.firstKey..<min(unit.firstKey + TileSizes.backwardKeys, run.count))
    let head = unsafe heads[
      (unit.run * shape.batch + unit.batch) * shape.kvHeads + unit.kvHead]
    var isLoaded = false
    for queryHead in shape.queryHeads(of: unit.kvHead) {
      for (index, queries) in queryTiles.enumerated() {
        let turn = (unit.batch * shape.queryHeads + queryHead) * queryTiles.count + index
        let coverage = pattern.coverage(keys: keys, queries: queries.positions)
        guard coverage != .none else {
          turns.take(turn, unit.turn, poll: poll)
          settle(unit, queryHead, queries, turn, added: false)
          turns.pass(turn)
          continue
        }
        if !isLoaded {
          unsafe keyTile.load(head, first: unit.firstKey, count: keys.count)
          unsafe tile.load(keys: keyTile)
          isLoaded = true
        }
        unsafe tile.load(
          rows: queries.positions.count,
          rows.from(
            batch: unit.batch, head: queryHead, token: queries.firstToken, of: tokens,
            shape: shape),
          shape: shape, queryScale: queryScale)
        let masked = coverage == .some || pattern.hasBias
        unsafe tile.attend(
          mask: masked
            ? TileMask(
              pattern: pattern, keys: keys, queries: queries.positions,
              head: shape.firstQueryHead + queryHead) : nil)
        turns.take(turn, unit.turn, poll: poll)
        let rows = unsafe queryGradients(unit, queryHead, queries)
        unsafe tile.addQueryGradients(
          to: addsAtOnce ? rows.sums : rows.remainders, stride: shape.queryHeads * shape.headDim)
        settle(unit, queryHead, queries, turn, added: true)
        turns.pass(turn)
        tile.putGradientsBy()
        poll(queries.positions.count * keys.count)
      }
    }
    guard isLoaded else { return }
    let earlierKeys = keyRuns[..<unit.run].reduce(0) { $0 + $1.count }
    let row =
      (unit.batch * keyCount + earlierKeys + unit.firstKey) * shape.kvHeads + unit.kvHead
    unsafe tile.addGradients(
      toKeys: dk + row * shape.headDim, stride: shape.kvHeads * shape.headDim,
      toValues: dv + row * shape.valueHeadDim, stride: shape.kvHeads * shape.valueHeadDim)
  }

  // MARK: Gradients of queries

  /// Keys are so few that nothing is lost.
  private var addsAtOnce: Bool { turnCount <= TileSizes.fewBackwardTiles }

  @unsafe
  private func queryGradients(
    _ unit: Unit, _ queryHead: Int, _ queries: QueryTile
  ) -> CompensatedSums {
    let row = (unit.batch * tokens + queries.firstToken) * shape.queryHeads + queryHead
    return unsafe dq.from(row * shape.headDim)
  }

  /// Settles the gradients of a tile of queries if it is time, in the turn of a unit.
  private func settle(
    _ unit: Unit, _ queryHead: Int, _ queries: QueryTile, _ turn: Int, added: Bool
  ) {
    guard !addsAtOnce, turns.count(turn, added: added, isLast: unit.turn == turnCount - 1) else {
      return
    }
    let rows = unsafe queryGradients(unit, queryHead, queries)
    for row in 0..<queries.positions.count {
      unsafe rows.from(row * shape.queryHeads * shape.headDim).settle(count: shape.headDim)
    }
  }
}

/// For each tile of queries, whose turn it is to add to its gradients.
private final class Turns: Sendable {
  @safe
  private struct Counters: @unchecked Sendable {
    let base: UnsafeMutablePointer<Atomic<Int>>
    /// How often something has been added since it was settled; who has the turn may touch it.
    let additions: UnsafeMutablePointer<Int>
  }

  private let counters: Counters
  private let count: Int

  init(count: Int) {
    self.count = count
    counters = unsafe Counters(
      base: .allocate(capacity: max(count, 1)), additions: .allocate(capacity: max(count, 1)))
    unsafe counters.additions.initialize(repeating: 0, count: count)
    for index in 0..<count { unsafe (counters.base + index).initialize(to: Atomic(0)) }
  }

  deinit {
    unsafe counters.base.deinitialize(count: count)
    unsafe counters.base.deallocate()
    unsafe counters.additions.deallocate()
  }

  /// Waits until it is `turn` of counter `index`.
  func take(_ index: Int, _ turn: Int, poll: (_ scores: Int) -> Void) {
    while unsafe counters.base[index].load(ordering: .acquiring) != turn {
      poll(0)
      sched_yield()
    }
  }

  /// Counts what whoever has the turn has added to counter `index`.
  ///
  /// - Returns: whether that is to be settled: it was added often enough, or will not be again.
  func count(_ index: Int, added: Bool, isLast: Bool) -> Bool {
    let additions = unsafe counters.additions[index] + (added ? 1 : 0)
    let isDue = additions >= (isLast ? 1 : TileSizes.backwardTilesAtOnce)
    unsafe counters.additions[index] = isDue ? 0 : additions
    return isDue
  }

  /// Lets the next one have its turn.
  func pass(_ index: Int) {
    unsafe counters.base[index].wrappingAdd(1, ordering: .releasing)
  }
}
