import Compute
import MPI
import Sharding
import Tensors

/// Queries of a rank, and the keys and values of a block that goes round, as tiles of matrices.
struct ReLURows: Sendable {
  private let mixer: ReLUAttention
  private let q: MixerTensor
  /// Outputs; backward their gradients.
  private let o: MixerTensor
  private let gamma: MixerTensor?
  /// This rank's keys and then its values: `[batch, tokens, kvHeads, columns]` both.
  let block: MixerTensor
  let ring: Ring
  private let count: Int
  private let counts: [Int]
  private let heads: Int
  private let kvHeads: Int
  private let d: Int
  private let c: Int
  /// `[tokens]`: one over what a query's weights are divided by.
  private let factors: [Float]

  /// Queries of a tile: their rows stay in the second cache.
  private static let queryTile = 128
  /// Keys of a tile.
  private static let keyTile = 64

  init(_ mixer: ReLUAttention, _ x: MixerTensors, o: MixerTensor, on line: RankLine) {
    self.mixer = mixer
    (q, self.o, gamma) = (x["q"], o, x.find("gamma"))
    (heads, kvHeads) = (mixer.sizes["heads"], mixer.sizes["kvHeads"])
    (d, c) = (mixer.sizes["headDim"], mixer.sizes["valueHeadDim"])
    counts = (0..<line.ranks).map { line.sharding.tokenCount(of: $0) }
    count = line.tokens
    let perToken = mixer.batch * kvHeads * (d + c)
    ring = Ring(lengths: counts.map { $0 * perToken })
    let block = MixerTensor(
      zeros: TensorForm(name: "block", dimensions: ["numbers"], sizes: [count * perToken]),
      tokens: 0)
    let (k, v) = (x["k"], x["v"])
    unsafe block.base.update(from: k.base, count: k.count)
    unsafe (block.base + k.count).update(from: v.base, count: v.count)
    self.block = block
    let (isCausal, countsVisible, tokens) = (mixer.isCausal, mixer.countsVisible, mixer.tokens)
    factors = line.runs.flatMap { Array($0) }.map { position in
      let visible = isCausal ? position + 1 : tokens
      return countsVisible ? Float((2 / Double(visible)).squareRoot()) : 1 / Float(tokens)
    }
  }

  private var queryTiles: Int { (count + Self.queryTile - 1) / Self.queryTile }

  private func queries(_ tile: Int) -> Range<Int> {
    tile * Self.queryTile..<min((tile + 1) * Self.queryTile, count)
  }

  /// The keys and the values of one head of one sequence of a block, or of its sums.
  private func rows(_ numbers: RingNumbers, _ owner: Int, _ sequence: Int, _ kvHead: Int) -> (
    keys: StridedMatrix, values: StridedMatrix
  ) {
    let tokens = counts[owner]
    let first = sequence * tokens * kvHeads + kvHead
    let values = mixer.batch * tokens * kvHeads * d
    return unsafe (
      StridedMatrix(numbers.base + first * d, row: kvHeads * d),
      StridedMatrix(numbers.base + values + first * c, row: kvHeads * c)
    )
  }

  /// One over what the weights of a head are divided by.
  private func headFactor(_ head: Int) -> Float { gamma.map { unsafe 1 / $0.base[head] } ?? 1 }

  // MARK: Forward

  /// Adds what a block gives to the outputs.
  func meet(_ visit: Ring.Visit) throws(MPIError) {
    let (owner, block) = (visit.owner, visit.block)
    let sight = PositionSight(isCausal: mixer.isCausal, owner: owner, on: visit)
    let tiles = queryTiles
    try visit.compute(mixer.batch * heads * tiles) { index, poll in
      let (unit, tile) = index.quotientAndRemainder(dividingBy: tiles)
      let (sequence, head) = unit.quotientAndRemainder(dividingBy: heads)
      let queries = queries(tile)
      let (k, v) = rows(block, owner, sequence, head * kvHeads / heads)
      let target = unsafe headRows(o, unit, heads: heads, tokens: count)
      let work = ReLUWork(d: d, c: c, queries: Self.queryTile, keys: Self.keyTile)
      unsafe headRows(q, unit, heads: heads, tokens: count).part(row: queries.lowerBound)
        .copy(to: work.queries, rows: queries.count, columns: d)
      forEachTile(of: counts[owner]) { keys in
        let coverage = sight.coverage(queries, keys)
        if coverage == .nothing { return }
        k.part(row: keys.lowerBound)
          .transpose(into: work.turnedKeys, rows: keys.count, columns: d)
        multiply(
          work.queries, work.turnedKeys, into: work.weights, rows: queries.count, depth: d,
          columns: keys.count)
        for (row, query) in queries.enumerated() {
          unsafe weigh(
            work.weights.part(row: row).base, query, keys, headFactor(head),
            coverage == .all ? nil : sight)
        }
        multiply(
          work.weights, v.part(row: keys.lowerBound),
          into: target.part(row: queries.lowerBound), rows: queries.count, depth: keys.count,
          columns: c, adding: true)
        poll()
      }
    }
  }

  /// Makes weights of the scores of a query.
  @unsafe
  private func weigh(
    _ scores: UnsafeMutablePointer<Float>, _ query: Int, _ keys: Range<Int>, _ factor: Float,
    _ sight: PositionSight?
  ) {
    let factor = Vector(repeating: factor * factors[query])
    let scale = Vector(repeating: mixer.scale)
    forEachVector(keys.count) { key in
      let score = unsafe Vector(loading: scores, at: key, of: keys.count) * scale
      let positive = Vector.zero.replacing(with: score, where: score .> .zero) * factor
      unsafe positive.store(to: scores, at: key, of: keys.count)
    }
    unsafe hide(scores, query, keys, sight)
  }

  /// Makes weights 0 of keys that a query does not see.
  @unsafe
  private func hide(
    _ weights: UnsafeMutablePointer<Float>, _ query: Int, _ keys: Range<Int>,
    _ sight: PositionSight?
  ) {
    guard let sight else { return }
    for (index, key) in keys.enumerated() where !sight.sees(query, key) {
      unsafe weights[index] = 0
    }
  }

  private func forEachTile(of count: Int, _ body: (Range<Int>) -> Void) {
    for start in Swift.stride(from: 0, to: count, by: Self.keyTile) {
      body(start..<min(start + Self.keyTile, count))
    }
  }

  // MARK: Backward

  /// Adds what a block gives to the gradients of queries, and what these give to those of the
  /// block.
  ///
  /// A head of keys is one piece of work, since all queries add to its gradients.
  func meetBackward(_ visit: Ring.Visit, ofQueries dq: MixerTensor) throws(MPIError) {
    let (owner, block, sums) = (visit.owner, visit.block, visit.sums)
    let sight = PositionSight(isCausal: mixer.isCausal, owner: owner, on: visit)
    let group = heads / kvHeads
    try visit.compute(mixer.batch * kvHeads) { index, poll in
      let (sequence, kvHead) = index.quotientAndRemainder(dividingBy: kvHeads)
      let (own, target) = (
        rows(block, owner, sequence, kvHead), rows(sums, owner, sequence, kvHead)
      )
      let work = ReLUWork(d: d, c: c, queries: Self.queryTile, keys: Self.keyTile)
      for number in 0..<group * queryTiles {
        let (member, tile) = number.quotientAndRemainder(dividingBy: queryTiles)
        let head = kvHead * group + member
        let unit = sequence * heads + head
        let queries = queries(tile)
        let (from, gradients, into) = unsafe (
          headRows(q, unit, heads: heads, tokens: count).part(row: queries.lowerBound),
          headRows(o, unit, heads: heads, tokens: count).part(row: queries.lowerBound),
          headRows(dq, unit, heads: heads, tokens: count).part(row: queries.lowerBound)
        )
        from.copy(to: work.queries, rows: queries.count, columns: d)
        gradients.copy(to: work.gradients, rows: queries.count, columns: c)
        forEachTile(of: counts[owner]) { keys in
          let coverage = sight.coverage(queries, keys)
          if coverage == .nothing { return }
          let (k, v) = (own.keys.part(row: keys.lowerBound), own.values.part(row: keys.lowerBound))
          scores(work, k, v, queries, keys, headFactor(head), coverage == .all ? nil : sight)
          multiply(
            work.weights.transposed, work.gradients, into: target.values.part(row: keys.lowerBound),
            rows: keys.count, depth: queries.count, columns: c, adding: true)
          multiply(
            work.ofScores.transposed, work.queries, into: target.keys.part(row: keys.lowerBound),
            rows: keys.count, depth: queries.count, columns: d, adding: true)
          multiply(
            work.ofScores, k, into: into, rows: queries.count, depth: keys.count, columns: d,
            adding: true)
          poll()
        }
      }
    }
  }

  /// Weights, and the gradients of scores times the scale.
  private func scores(
    _ work: borrowing ReLUWork, _ k: StridedMatrix, _ v: StridedMatrix, _ queries: Range<Int>,
    _ keys: Range<Int>, _ headFactor: Float, _ sight: PositionSight?
  ) {
    k.transpose(into: work.turnedKeys, rows: keys.count, columns: d)
    v.transpose(into: work.turnedValues, rows: keys.count, columns: c)
    multiply(
      work.queries, work.turnedKeys, into: work.weights, rows: queries.count, depth: d,
      columns: keys.count)
    multiply(
      work.gradients, work.turnedValues, into: work.ofScores, rows: queries.count, depth: c,
      columns: keys.count)
    for (row, query) in queries.enumerated() {
      let (weights, ofScores) = unsafe (
        work.weights.part(row: row).base, work.ofScores.part(row: row).base
      )
      unsafe weigh(weights, query, keys, headFactor, sight)
      let factor = Vector(repeating: headFactor * factors[query] * mixer.scale)
      forEachVector(keys.count) { key in
        let weight = unsafe Vector(loading: weights, at: key, of: keys.count)
        let product = unsafe Vector(loading: ofScores, at: key, of: keys.count) * factor
        let kept = Vector.zero.replacing(with: product, where: weight .> .zero)
        unsafe kept.store(to: ofScores, at: key, of: keys.count)
      }
    }
  }

  /// The gradients of this rank's keys and values, as they have come home.
  func unpack(_ sums: MixerTensor, keys: MixerTensor, values: MixerTensor) {
    unsafe keys.base.update(from: sums.base, count: keys.count)
    unsafe values.base.update(from: sums.base + keys.count, count: values.count)
  }
}

/// Tiles of one thread.
@safe
struct ReLUWork: ~Copyable {
  private let scratch: Scratch
  /// `[queries, headDim]`.
  let queries: StridedMatrix
  /// `[queries, valueHeadDim]`: gradients of outputs.
  let gradients: StridedMatrix
  /// `[headDim, keys]`.
  let turnedKeys: StridedMatrix
  /// `[valueHeadDim, keys]`.
  let turnedValues: StridedMatrix
  /// `[queries, keys]`: scores, and then weights.
  let weights: StridedMatrix
  /// `[queries, keys]`: gradients of scores.
  let ofScores: StridedMatrix

  init(d: Int, c: Int, queries rows: Int, keys: Int) {
    var scratch = Scratch(count: (rows + keys) * (d + c) + 2 * rows * keys, parts: 6)
    queries = unsafe StridedMatrix(scratch.take(rows * d), row: d)
    gradients = unsafe StridedMatrix(scratch.take(rows * c), row: c)
    turnedKeys = unsafe StridedMatrix(scratch.take(d * keys), row: keys)
    turnedValues = unsafe StridedMatrix(scratch.take(c * keys), row: keys)
    weights = unsafe StridedMatrix(scratch.take(rows * keys), row: keys)
    ofScores = unsafe StridedMatrix(scratch.take(rows * keys), row: keys)
    self.scratch = scratch
  }
}
