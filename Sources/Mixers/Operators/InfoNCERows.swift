import Compute
import Glibc
import MPI
import Sharding
import Tensors

/// Predictions of a rank's contexts, and the tokens of a block that goes round.
struct InfoNCERows {
  private let mixer: InfoNCE
  /// `W_k c / temperature`: `[steps, sequences, tokens, dim]`, and its gradient.
  private let predictions: MixerTensor
  private let ofPredictions: MixerTensor
  private let w: MixerTensor
  let ring: Ring
  private let count: Int
  private let shards: [[Int]]
  private let own: [Int]
  private var dim: Int { mixer.dim }
  private var sequences: Int { mixer.sequences }

  /// Contexts of a tile.
  private static let contextTile = 128
  /// Tokens of a tile.
  private static let tokenTile = 64

  init(_ mixer: InfoNCE, _ x: MixerTensors, on line: RankLine) {
    self.mixer = mixer
    w = x["W"]
    count = line.tokens
    let perToken = mixer.sequences * mixer.dim
    ring = Ring(lengths: (0..<line.ranks).map { line.sharding.tokenCount(of: $0) * perToken })
    shards = line.sharding.shards.map { runs in runs.flatMap { Array($0) } }
    own = shards[line.rank]
    let form = TensorForm(
      name: "predictions", dimensions: ["steps", "sequences", "tokens", "dim"],
      sizes: [mixer.steps, mixer.sequences, 0, mixer.dim])
    predictions = MixerTensor(zeros: form, tokens: count)
    ofPredictions = MixerTensor(zeros: form, tokens: count)
    predict(x["c"], on: line)
  }

  /// Some contexts of a step and a sequence: a piece of work.
  private struct Piece {
    let step: Int
    let sequence: Int
    let tokens: Range<Int>
  }

  private var tiles: Int { (count + Self.contextTile - 1) / Self.contextTile }
  private var pieces: Int { mixer.steps * sequences * tiles }

  private func piece(_ index: Int) -> Piece {
    let (unit, tile) = index.quotientAndRemainder(dividingBy: tiles)
    let (step, sequence) = unit.quotientAndRemainder(dividingBy: sequences)
    let first = tile * Self.contextTile
    return Piece(
      step: step, sequence: sequence, tokens: first..<min(first + Self.contextTile, count))
  }

  private func place(_ piece: Piece, _ token: Int) -> Int {
    (piece.step * sequences + piece.sequence) * count + token
  }

  private func rows(_ tensor: MixerTensor, _ piece: Piece) -> StridedMatrix {
    unsafe StridedMatrix(tensor.base + place(piece, piece.tokens.lowerBound) * dim, row: dim)
  }

  private func predict(_ contexts: MixerTensor, on line: RankLine) {
    line.compute(pieces) { [self] index, _ in
      let piece = piece(index)
      var scratch = Scratch(count: dim * dim, parts: 1)
      let turned = unsafe StridedMatrix(scratch.take(dim * dim), row: dim)
      let weights = unsafe StridedMatrix(w.base + piece.step * dim * dim, row: dim)
      weights.transpose(into: turned, rows: dim, columns: dim)
      let from = unsafe StridedMatrix(
        contexts.base + (piece.sequence * count + piece.tokens.lowerBound) * dim, row: dim)
      let target = rows(predictions, piece)
      multiply(from, turned, into: target, rows: piece.tokens.count, depth: dim, columns: dim)
      for number in 0..<piece.tokens.count * dim {
        unsafe target.base[number] /= mixer.temperature
      }
    }
  }

  private func forEachTile(of count: Int, _ body: (Range<Int>) -> Void) {
    for start in Swift.stride(from: 0, to: count, by: Self.tokenTile) {
      body(start..<min(start + Self.tokenTile, count))
    }
  }

  /// Where in a tile the token is that a context is to tell, if it is there: positions ascend.
  private func target(_ token: Int, _ step: Int, _ positions: [Int], _ tile: Range<Int>) -> Int? {
    let position = own[token] + step + 1
    guard position >= positions[tile.lowerBound], position <= positions[tile.upperBound - 1] else {
      return nil
    }
    return positions[tile].firstIndex(of: position).map { $0 - tile.lowerBound }
  }

  private func hasTarget(_ token: Int, _ step: Int) -> Bool {
    own[token] + step + 1 < mixer.tokens
  }

  // MARK: Forward

  /// `[steps, sequences, tokens, 3]`: the largest score, the sum of exponentials relative to it,
  /// and the score of the token to tell.
  func sums() -> MixerTensor {
    let sums = MixerTensor(
      zeros: TensorForm(
        name: "sums", dimensions: ["steps", "sequences", "tokens", "three"],
        sizes: [mixer.steps, sequences, 0, 3]), tokens: count)
    for place in 0..<sums.count / 3 { unsafe sums.base[3 * place] = -.infinity }
    return sums
  }

  /// Scores of some contexts and tokens, `[contexts, tokenTile]`.
  private func score(
    _ piece: Piece, _ tokens: StridedMatrix, _ count: Int, _ turned: StridedMatrix,
    into scores: StridedMatrix
  ) {
    tokens.transpose(into: turned, rows: count, columns: dim)
    multiply(
      rows(predictions, piece), turned, into: scores, rows: piece.tokens.count, depth: dim,
      columns: count)
  }

  private func tokens(_ visit: RingNumbers, _ length: Int, _ sequence: Int) -> StridedMatrix {
    unsafe StridedMatrix(visit.base + sequence * length * dim, row: dim)
  }

  func meet(_ visit: Ring.Visit, _ sums: MixerTensor) throws(MPIError) {
    let (positions, block) = (shards[visit.owner], visit.block)
    try visit.compute(pieces) { [self] index, poll in
      let piece = piece(index)
      var scratch = Scratch(count: Self.tokenTile * (dim + Self.contextTile), parts: 2)
      let turned = unsafe StridedMatrix(scratch.take(Self.tokenTile * dim), row: Self.tokenTile)
      let scores = unsafe StridedMatrix(
        scratch.take(Self.tokenTile * Self.contextTile), row: Self.tokenTile)
      let tokens = tokens(block, positions.count, piece.sequence)
      forEachTile(of: positions.count) { tile in
        score(
          piece, tokens.part(row: tile.lowerBound), tile.count, turned, into: scores)
        for (row, token) in piece.tokens.enumerated() {
          let line = unsafe scores.base + row * scores.row
          let sum = unsafe sums.base + 3 * place(piece, token)
          if let target = target(token, piece.step, positions, tile) {
            unsafe sum[2] = line[target]
          }
          unsafe add(line, tile.count, to: sum)
        }
        poll()
      }
    }
  }

  /// Adds exponentials of scores, relative to the largest.
  @unsafe
  private func add(
    _ scores: UnsafeMutablePointer<Float>, _ count: Int, to sum: UnsafeMutablePointer<Float>
  ) {
    var top = unsafe sum[0]
    for index in 0..<count { unsafe top = max(top, scores[index]) }
    var total = Vector.zero
    forEachVector(count) { index in
      let x = unsafe Vector(loading: scores, at: index, of: count) - Vector(repeating: top)
      var weight = vanishingExp(x)
      for lane in max(0, min(8, count - index))..<8 { weight[lane] = 0 }
      total += weight
    }
    unsafe sum[1] = sum[1] * expf(sum[0] - top) + total.laneSum
    unsafe sum[0] = top
  }

  /// This rank's part of the means of losses; of sums, makes log-sum-exps.
  func addUp(_ sums: MixerTensor, into loss: MixerTensor) {
    for step in 0..<mixer.steps {
      var total = 0.0
      for sequence in 0..<sequences {
        for token in 0..<count {
          let sum = unsafe sums.base + 3 * ((step * sequences + sequence) * count + token)
          let logSum = unsafe sum[0] + naturalLogarithm(sum[1])
          if hasTarget(token, step) { total += unsafe Double(logSum) - Double(sum[2]) }
          unsafe sum[0] = logSum
        }
      }
      unsafe loss.base[step] = Float(total / Double(max(1, mixer.contexts(step: step))))
    }
  }

  // MARK: Backward

  /// What the loss of a context counts for, of each step.
  func slopes(_ gradient: MixerTensor) -> [Float] {
    (0..<mixer.steps).map { step in
      let count = mixer.contexts(step: step)
      return unsafe count == 0 ? 0 : gradient.base[step] / Float(count)
    }
  }

  /// Makes of scores their gradients.
  private func slope(
    _ scores: StridedMatrix, _ piece: Piece, _ positions: [Int], _ tile: Range<Int>,
    _ sums: MixerTensor, _ slope: Float
  ) {
    for (row, token) in piece.tokens.enumerated() {
      let line = unsafe scores.base + row * scores.row
      guard hasTarget(token, piece.step) else {
        unsafe line.update(repeating: 0, count: tile.count)
        continue
      }
      let logSum = unsafe Vector(repeating: sums.base[3 * place(piece, token)])
      forEachVector(tile.count) { index in
        let x = unsafe Vector(loading: line, at: index, of: tile.count) - logSum
        unsafe (exp(x) * slope).store(to: line, at: index, of: tile.count)
      }
      if let target = target(token, piece.step, positions, tile) {
        unsafe line[target] -= slope
      }
    }
  }

  /// Adds what a block gives to the gradients of predictions.
  func predictionGradients(
    _ visit: Ring.Visit, _ sums: MixerTensor, _ slopes: [Float]
  ) throws(MPIError) {
    let (positions, block) = (shards[visit.owner], visit.block)
    try visit.compute(pieces) { [self] index, poll in
      let piece = piece(index)
      var scratch = Scratch(count: Self.tokenTile * (dim + Self.contextTile), parts: 2)
      let turned = unsafe StridedMatrix(scratch.take(Self.tokenTile * dim), row: Self.tokenTile)
      let scores = unsafe StridedMatrix(
        scratch.take(Self.tokenTile * Self.contextTile), row: Self.tokenTile)
      let all = tokens(block, positions.count, piece.sequence)
      forEachTile(of: positions.count) { tile in
        let tokens = all.part(row: tile.lowerBound)
        score(piece, tokens, tile.count, turned, into: scores)
        slope(scores, piece, positions, tile, sums, slopes[piece.step])
        multiply(
          scores, tokens, into: rows(ofPredictions, piece), rows: piece.tokens.count,
          depth: tile.count, columns: dim, adding: true)
        poll()
      }
    }
  }

  /// Adds what contexts give to the gradients of a block: some of its tokens are a piece of work.
  func tokenGradients(
    _ visit: Ring.Visit, _ sums: MixerTensor, _ slopes: [Float]
  ) throws(MPIError) {
    let (positions, block, target) = (shards[visit.owner], visit.block, visit.sums)
    let blockTiles = (positions.count + Self.tokenTile - 1) / Self.tokenTile
    try visit.compute(sequences * blockTiles) { [self] index, poll in
      let (sequence, number) = index.quotientAndRemainder(dividingBy: blockTiles)
      let first = number * Self.tokenTile
      let tile = first..<min(first + Self.tokenTile, positions.count)
      var scratch = Scratch(count: Self.tokenTile * (dim + Self.contextTile), parts: 2)
      let turned = unsafe StridedMatrix(scratch.take(Self.tokenTile * dim), row: Self.tokenTile)
      let scores = unsafe StridedMatrix(
        scratch.take(Self.tokenTile * Self.contextTile), row: Self.tokenTile)
      let tokens = tokens(block, positions.count, sequence).part(row: first)
      let gradients = self.tokens(target, positions.count, sequence).part(row: first)
      for step in 0..<mixer.steps {
        for contextTile in 0..<tiles {
          let piece = piece((step * sequences + sequence) * tiles + contextTile)
          score(piece, tokens, tile.count, turned, into: scores)
          slope(scores, piece, positions, tile, sums, slopes[step])
          multiply(
            scores.transposed, rows(predictions, piece), into: gradients, rows: tile.count,
            depth: piece.tokens.count, columns: dim, adding: true)
          poll()
        }
      }
    }
  }

  /// Gradients of contexts, and those of weights, which are sums over all tokens.
  func finish(
    _ c: MixerTensor, contexts dc: MixerTensor, weights dw: MixerTensor, on line: RankLine
  ) throws(MPIError) {
    let factor = 1 / mixer.temperature
    line.forEachSegment(units: sequences) { [self] sequence, tokens, _ in
      let first = (sequence * count + tokens.lowerBound) * dim
      let target = unsafe StridedMatrix(dc.base + first, row: dim)
      for step in 0..<mixer.steps {
        let piece = Piece(step: step, sequence: sequence, tokens: tokens)
        unsafe multiply(
          rows(ofPredictions, piece), StridedMatrix(w.base + step * dim * dim, row: dim),
          into: target, rows: tokens.count, depth: dim, columns: dim, adding: step > 0)
      }
      for number in 0..<tokens.count * dim { unsafe target.base[number] *= factor }
    }
    let sums = MixerTensor(
      zeros: TensorForm(
        name: "sums", dimensions: ["units", "dim", "dim"],
        sizes: [mixer.steps * sequences, dim, dim]), tokens: 0)
    unsafe line.addUp(units: mixer.steps * sequences, to: sums) {
      [self] unit, tokens, total, poll in
      let (step, sequence) = unit.quotientAndRemainder(dividingBy: sequences)
      let piece = Piece(step: step, sequence: sequence, tokens: tokens)
      let contexts = unsafe StridedMatrix(
        c.base + (sequence * count + tokens.lowerBound) * dim, row: dim)
      unsafe addProducts(
        rows(ofPredictions, piece), contexts, tokens.count, rows: dim, columns: dim, to: total,
        poll)
    }
    try Summary.sum.combine(sums, on: line)
    for unit in 0..<mixer.steps * sequences {
      let (from, to) = (unit * dim * dim, unit / sequences * dim * dim)
      for index in 0..<dim * dim {
        unsafe dw.base[to + index] += sums.base[from + index] * factor
      }
    }
  }
}
