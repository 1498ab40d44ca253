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
struct ReproducibleBackwardPass: ThreadedPass, @unchecked Sendable {
  /// Where gradients are added.
  struct Gradients {
    /// `[batch, tokens, queryHeads]` rows.
    let dq: ReproducibleRows
    /// `[batch, keys, kvHeads]` rows.
    let dk: ReproducibleRows
    let dv: ReproducibleRows
  }

  private struct Unit {
    let batch: Int
    let head: Int
    /// Indices of the leaves.
    let queries: Int
    let keys: Int
  }

  private let shape: AttentionShape
  private let pattern: any AttentionPattern
  private let queryScale: Float
  private let tokens: Int
  private let keyCount: Int
  private let queryLeaves: [Leaf]
  private let keyLeaves: [Leaf]
  private let heads: [PackedHead]
  private let rows: BackwardRows
  private let gradients: Gradients
  private let units: [Unit]
  private let queryLocks: [Lock]
  private let keyLocks: [Lock]

  var unitCount: Int { units.count }

  @unsafe
  init(
    shape: AttentionShape, pattern: any AttentionPattern, queryScale: Float, tokens: Int,
    queryRuns: [PositionRange], keyRuns: [PositionRange], heads: [PackedHead],
    rows: BackwardRows, gradients: Gradients, keyCount: Int, part: BlockPart
  ) {
    self.shape = shape
    self.pattern = pattern
    self.queryScale = queryScale
    self.tokens = tokens
    self.keyCount = keyCount
    unsafe self.heads = heads
    unsafe self.rows = rows
    self.gradients = gradients
    let queryLeaves = Array(Leaves(of: queryRuns, length: TileSizes.leaf))
    let keyLeaves = Array(Leaves(of: keyRuns, length: TileSizes.leaf))
    self.queryLeaves = queryLeaves
    self.keyLeaves = keyLeaves
    var units: [Unit] = []
    for keys in part.indices(of: keyLeaves.count) {
      for (queries, queryLeaf) in queryLeaves.enumerated()
      where pattern.coverage(keys: keyLeaves[keys].positions, queries: queryLeaf.positions) != .none
      {
        for batch in 0..<shape.batch {
          for head in 0..<shape.queryHeads {
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
    var keyTile = KeyTile(shape: shape)
    var tile = BackwardTile(shape: shape)
    let dq = AlignedBuffer<Float>(zeros: TileSizes.leaf * roundedUp(shape.headDim))
    while let index = units.next() {
      run(self.units[index], keyTile: &keyTile, tile: &tile, dq: dq, poll: poll)
    }
  }

  /// - Parameter dq: the gradients of the queries, `[leaf, columns of whole panels]`.
  private func run(
    _ unit: Unit, keyTile: inout KeyTile, tile: inout BackwardTile,
    dq: borrowing AlignedBuffer<Float>, poll: (_ scores: Int) -> Void
  ) {
    let (queryLeaf, keyLeaf) = (queryLeaves[unit.queries], keyLeaves[unit.keys])
    let kvHead = shape.kvHead(of: unit.head)
    let head = unsafe heads[(keyLeaf.run * shape.batch + unit.batch) * shape.kvHeads + kvHead]
    let columns = roundedUp(shape.headDim)
    unsafe dq.unsafeBaseAddress.update(
      repeating: 0, count: queryLeaf.positions.count * columns)
    for keyRange in keyLeaf.tiles(of: TileSizes.backwardKeys) {
      let keys = keyLeaf.positions.slice(keyRange)
      var isLoaded = false
      for queryRange in queryLeaf.tiles(of: TileSizes.backwardQueries) {
        let queries = queryLeaf.positions.slice(queryRange)
        let coverage = pattern.coverage(keys: keys, queries: queries)
        if coverage == .none { continue }
        if !isLoaded {
          unsafe keyTile.load(
            head, first: keyLeaf.firstInRun + keyRange.lowerBound, count: keys.count)
          unsafe tile.load(keys: keyTile)
          isLoaded = true
        }
        unsafe tile.load(
          rows: queries.count,
          rows.from(
            batch: unit.batch, head: unit.head,
            token: queryLeaf.firstInShard + queryRange.lowerBound, of: tokens, shape: shape),
          shape: shape, queryScale: queryScale)
        let masked = coverage == .some || pattern.hasBias
        unsafe tile.attend(
          mask: masked
            ? TileMask(
              pattern: pattern, keys: keys, queries: queries,
              head: shape.firstQueryHead + unit.head) : nil)
        unsafe tile.addQueryGradients(
          to: dq.unsafeBaseAddress + queryRange.lowerBound * columns, stride: columns)
        poll(queries.count * keys.count)
      }
      if isLoaded {
        let key = unit.batch * keyCount + keyLeaf.firstInShard + keyRange.lowerBound
        keyLocks[(unit.batch * shape.kvHeads + kvHead) * keyLeaves.count + unit.keys].withLock {
          unsafe tile.addGradients(
            toKeys: gradients.dk, toValues: gradients.dv, from: key * shape.kvHeads + kvHead,
            stride: shape.kvHeads)
        }
      }
    }
    let firstRow = (unit.batch * tokens + queryLeaf.firstInShard) * shape.queryHeads + unit.head
    queryLocks[(unit.batch * shape.queryHeads + unit.head) * queryLeaves.count + unit.queries]
      .withLock {
        for row in 0..<queryLeaf.positions.count {
          unsafe gradients.dq.add(
            dq.unsafeBaseAddress + row * columns, panelStride: TileSizes.panelWidth, exponent: 0,
            to: firstRow + row * shape.queryHeads)
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
