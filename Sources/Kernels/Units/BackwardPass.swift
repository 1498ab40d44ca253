import AttentionTypes
import Compute
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
struct BackwardPass<Element: Factor>: @unchecked Sendable {
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

  private let work: BackwardWork
  private let dq: CompensatedSums
  private let dk: UnsafeMutablePointer<Float>
  private let dv: UnsafeMutablePointer<Float>
  private let queryTiles: [QueryTile]
  /// For each run of keys, how many tiles those before it have.
  private let firstTiles: [Int]
  private let turns: Turns
  private let turnCount: Int

  /// Units are made as they are asked for: there can be many millions of tiles of keys.
  let unitCount: Int

  init(_ work: BackwardWork) {
    guard let remainders = unsafe work.gradients.dq.remainders else {
      preconditionFailure("no room for what rounding takes")
    }
    self.work = work
    unsafe dq = CompensatedSums(sums: work.gradients.dq.floats, remainders: remainders)
    unsafe dk = work.gradients.dk.floats
    unsafe dv = work.gradients.dv.floats
    var queryTiles: [QueryTile] = []
    var runStart = 0
    for run in work.queryRuns {
      for first in stride(from: 0, to: run.count, by: Element.backwardQueries) {
        queryTiles.append(
          QueryTile(
            firstToken: runStart + first,
            positions: run.slice(first..<min(first + Element.backwardQueries, run.count))))
      }
      runStart += run.count
    }
    self.queryTiles = queryTiles
    var tileCount = 0
    firstTiles = work.keyRuns.map { run in
      defer { tileCount += (run.count + TileSizes.backwardKeys - 1) / TileSizes.backwardKeys }
      return tileCount
    }
    turnCount = work.part.count(of: tileCount)
    let shape = work.shape
    unitCount = turnCount * shape.batch * shape.kvHeads
    turns = Turns(count: shape.batch * shape.queryHeads * queryTiles.count)
  }

  /// Neighbouring units belong to different heads, so that they do not wait for each other.
  private func unit(_ index: Int) -> Unit {
    let (turn, head) = index.quotientAndRemainder(dividingBy: work.shape.batch * work.shape.kvHeads)
    let tile = work.part.index(turn)
    var (run, end) = (0, work.keyRuns.count)
    // The last run whose first tile is not after this one.
    while end - run > 1 {
      let middle = (run + end) / 2
      if firstTiles[middle] <= tile { run = middle } else { end = middle }
    }
    return Unit(
      batch: head / work.shape.kvHeads, kvHead: head % work.shape.kvHeads, run: run,
      firstKey: (tile - firstTiles[run]) * TileSizes.backwardKeys, turn: turn)
  }

  /// Takes units until there are none.
  func run(_ units: ThreadTeam.Units, poll: (_ scores: Int) -> Void) {
    var keyTile = KeyTile<Element>(shape: work.shape)
    var tile = BackwardTile<Element>(shape: work.shape)
    Element.beginPass()
    defer { Element.endPass() }
    while let index = units.next() {
      run(unit(index), keyTile: &keyTile, tile: &tile, poll: poll)
    }
  }

  private func run(
    _ unit: Unit, keyTile: inout KeyTile<Element>, tile: inout BackwardTile<Element>,
    poll: (_ scores: Int) -> Void
  ) {
    let shape = work.shape
    let run = work.keyRuns[unit.run]
    let keys = run.slice(
      unit.firstKey..<min(unit.firstKey + TileSizes.backwardKeys, run.count))
    let packed = unsafe work.packedHead(
      run: unit.run, batch: unit.batch, kvHead: unit.kvHead)
    var isLoaded = false
    for queryHead in shape.queryHeads(of: unit.kvHead) {
      for (index, queries) in queryTiles.enumerated() {
        let turn = (unit.batch * shape.queryHeads + queryHead) * queryTiles.count + index
        let coverage = work.pattern.coverage(
          keys: keys, queries: queries.positions, batch: unit.batch,
          head: shape.firstQueryHead + queryHead)
        guard coverage != .none else {
          turns.take(turn, unit.turn, poll: poll)
          settle(unit, queryHead, queries, turn, added: false)
          turns.pass(turn)
          continue
        }
        if !isLoaded {
          unsafe keyTile.load(packed, first: unit.firstKey, count: keys.count)
          unsafe tile.load(keys: keyTile)
          isLoaded = true
        }
        work.attend(
          &tile, keys: keys, queries: queries.positions, batch: unit.batch, head: queryHead,
          firstToken: queries.firstToken, coverage: coverage)
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
    let earlierKeys = work.keyRuns[..<unit.run].reduce(0) { $0 + $1.count }
    let row =
      (unit.batch * work.keyCount + earlierKeys + unit.firstKey) * shape.kvHeads + unit.kvHead
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
    let row =
      (unit.batch * work.tokens + queries.firstToken) * work.shape.queryHeads + queryHead
    return unsafe dq.from(row * work.shape.headDim)
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
      unsafe rows.from(row * work.shape.queryHeads * work.shape.headDim)
        .settle(count: work.shape.headDim)
    }
  }
}
