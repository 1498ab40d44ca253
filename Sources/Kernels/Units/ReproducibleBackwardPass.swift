import AttentionTypes
import Compute
import Synchronization
import Tensors

/// One block against all queries of a rank, backward, in sums that do not depend on order.
///
/// A unit is a square: one leaf of queries of one head against one leaf of keys. Its gradients are
/// collected in `Float` and added to the reproducible sums in any order; locks only keep two units
/// from adding to the same leaf at once.
///
/// It holds plain addresses: whoever creates it keeps the tensors alive until it has run.
@safe
struct ReproducibleBackwardPass<Element: Factor>: @unchecked Sendable {
  private struct Unit {
    let batch: Int
    let head: Int
    /// Indices of the leaves.
    let queries: Int
    let keys: Int
  }

  private let work: BackwardWork
  private let queryLeaves: [Leaf]
  private let keyLeaves: [Leaf]
  /// `[batch, tokens, queryHeads]` rows.
  private let dqRows: ReproducibleRows
  /// `[batch, keys, kvHeads]` rows.
  private let dkRows: ReproducibleRows
  private let dvRows: ReproducibleRows
  private let units: [Unit]
  private let queryLocks: [Lock]
  private let keyLocks: [Lock]

  var unitCount: Int { units.count }

  init(_ work: BackwardWork) {
    self.work = work
    unsafe dqRows = work.gradients.dq.integers
    unsafe dkRows = work.gradients.dk.integers
    unsafe dvRows = work.gradients.dv.integers
    let shape = work.shape
    let queryLeaves = Array(Leaves(of: work.queryRuns, length: Accumulation.leaf))
    let keyLeaves = Array(Leaves(of: work.keyRuns, length: Accumulation.leaf))
    self.queryLeaves = queryLeaves
    self.keyLeaves = keyLeaves
    var units: [Unit] = []
    for keys in work.part.indices(of: keyLeaves.count) {
      for (queries, queryLeaf) in queryLeaves.enumerated()
      where work.pattern.coverage(
        keys: keyLeaves[keys].positions, queries: queryLeaf.positions) != .none
      {
        for batch in 0..<shape.batch {
          for head in 0..<shape.queryHeads
          where work.pattern.coverage(
            keys: keyLeaves[keys].positions, queries: queryLeaf.positions, batch: batch,
            head: shape.firstQueryHead + head) != .none
          {
            units.append(Unit(batch: batch, head: head, queries: queries, keys: keys))
          }
        }
      }
    }
    self.units = units
    queryLocks = (0..<shape.batch * shape.queryHeads * queryLeaves.count).map { _ in Lock() }
    keyLocks = (0..<shape.batch * shape.kvHeads * keyLeaves.count).map { _ in Lock() }
  }

  /// Takes units until there are none.
  func run(_ units: ThreadTeam.Units, poll: (_ scores: Int) -> Void) {
    var keyTile = KeyTile<Element>(shape: work.shape)
    var tile = BackwardTile<Element>(shape: work.shape)
    let dq = AlignedBuffer<Float>(zeros: Accumulation.leaf * roundedUp(work.shape.headDim))
    while let index = units.next() {
      run(self.units[index], keyTile: &keyTile, tile: &tile, dq: dq, poll: poll)
    }
  }

  /// - Parameter dq: the gradients of the queries, `[leaf, columns of whole panels]`.
  private func run(
    _ unit: Unit, keyTile: inout KeyTile<Element>, tile: inout BackwardTile<Element>,
    dq: borrowing AlignedBuffer<Float>, poll: (_ scores: Int) -> Void
  ) {
    let shape = work.shape
    let (queryLeaf, keyLeaf) = (queryLeaves[unit.queries], keyLeaves[unit.keys])
    let kvHead = shape.kvHead(of: unit.head)
    let packed = unsafe work.packedHead(run: keyLeaf.run, batch: unit.batch, kvHead: kvHead)
    let columns = roundedUp(shape.headDim)
    unsafe dq.unsafeBaseAddress.update(
      repeating: 0, count: queryLeaf.positions.count * columns)
    for keyRange in keyLeaf.tiles(of: TileSizes.backwardKeys) {
      let keys = keyLeaf.positions.slice(keyRange)
      var isLoaded = false
      for queryRange in queryLeaf.tiles(of: Element.backwardQueries) {
        let queries = queryLeaf.positions.slice(queryRange)
        let coverage = work.pattern.coverage(
          keys: keys, queries: queries, batch: unit.batch,
          head: shape.firstQueryHead + unit.head)
        if coverage == .none { continue }
        if !isLoaded {
          unsafe keyTile.load(
            packed, first: keyLeaf.firstInRun + keyRange.lowerBound, count: keys.count)
          unsafe tile.load(keys: keyTile)
          isLoaded = true
        }
        work.attend(
          &tile, keys: keys, queries: queries, batch: unit.batch, head: unit.head,
          firstToken: queryLeaf.firstInShard + queryRange.lowerBound, coverage: coverage)
        unsafe tile.addQueryGradients(
          to: dq.unsafeBaseAddress + queryRange.lowerBound * columns, stride: columns)
        poll(queries.count * keys.count)
      }
      if isLoaded {
        let key = unit.batch * work.keyCount + keyLeaf.firstInShard + keyRange.lowerBound
        keyLocks[(unit.batch * shape.kvHeads + kvHead) * keyLeaves.count + unit.keys].withLock {
          unsafe tile.addGradients(
            toKeys: dkRows, toValues: dvRows, from: key * shape.kvHeads + kvHead,
            stride: shape.kvHeads)
        }
      }
    }
    let firstRow =
      (unit.batch * work.tokens + queryLeaf.firstInShard) * shape.queryHeads + unit.head
    queryLocks[(unit.batch * shape.queryHeads + unit.head) * queryLeaves.count + unit.queries]
      .withLock {
        for row in 0..<queryLeaf.positions.count {
          unsafe dqRows.add(
            dq.unsafeBaseAddress + row * columns, panelWidth: TileSizes.panelWidth,
            panelStride: TileSizes.panelWidth, exponent: 0, to: firstRow + row * shape.queryHeads)
        }
      }
  }
}

/// A lock that can be put in an array.
private final class Lock: Sendable {
  private let mutex = Mutex(())

  func withLock(_ body: () -> Void) {
    mutex.withLock { _ in body() }
  }
}
