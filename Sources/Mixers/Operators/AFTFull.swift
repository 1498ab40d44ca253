import Compute
import MPI
import Sharding
import Tensors

/// An attention free transformer with a weight for every pair of tokens: keys and values go round a
/// ring, and their gradients follow them home.
struct AFTFull {
  private let mixer: AFT
  private let w: MixerTensor
  private let pairs: MixerTensor
  private let ring: Ring
  private let counts: [Int]
  private let count: Int
  private let step: Int
  private let shards: [[Int]]

  /// Tokens of a piece of work.
  private static let rows = 64
  /// Keys of a tile: with their values they stay in the first cache.
  private static let keys = 64
  /// Channels of a piece of work.
  private static let width = 32

  init(_ mixer: AFT, _ x: MixerTensors, on line: RankLine) {
    self.mixer = mixer
    w = x["w"]
    pairs = AFTPairs.pack(mixer, x, on: line)
    step = paddedToVectors(mixer.channels)
    count = line.tokens
    counts = (0..<line.ranks).map { line.sharding.tokenCount(of: $0) }
    let perToken = mixer.batch * 2 * step
    ring = Ring(lengths: counts.map { $0 * perToken })
    shards = line.sharding.shards.map { runs in runs.flatMap { Array($0) } }
  }

  private var columnBlocks: Int { (step + Self.width - 1) / Self.width }

  private func columns(_ block: Int) -> Range<Int> {
    block * Self.width..<min((block + 1) * Self.width, step)
  }

  private func segments(_ count: Int) -> Int { (count + Self.rows - 1) / Self.rows }

  private func forEachTile(of count: Int, _ body: (Range<Int>) -> Void) {
    for start in Swift.stride(from: 0, to: count, by: Self.keys) {
      body(start..<min(start + Self.keys, count))
    }
  }

  /// How many of a tile's keys a token sees: positions of a shard ascend.
  private func seen(_ token: Int, _ positions: [Int], _ keys: Range<Int>, _ own: [Int]) -> Int {
    if !mixer.isCausal { return keys.count }
    let position = own[token]
    var count = keys.count
    while count > 0, positions[keys.lowerBound + count - 1] > position { count -= 1 }
    return count
  }

  /// The weights of a token with the keys of a tile, side by side.
  @unsafe
  private func gather(
    _ token: Int, _ positions: [Int], _ keys: Range<Int>, into target: UnsafeMutablePointer<Float>
  ) {
    let row = unsafe w.base + token * mixer.tokens
    for (index, key) in keys.enumerated() { unsafe target[index] = row[positions[key]] }
  }

  func forward(_ means: AFTMeans, on line: RankLine) throws(MPIError) {
    let own = shards[line.rank]
    let segments = segments(count)
    try ring.run(pairs, on: line) { visit throws(MPIError) in
      let (positions, block) = (shards[visit.owner], visit.block)
      let (blocks, length) = (columnBlocks, counts[visit.owner])
      try visit.compute(mixer.batch * segments * blocks) { [self] index, poll in
        let (rest, columnBlock) = index.quotientAndRemainder(dividingBy: blocks)
        let (sequence, segment) = rest.quotientAndRemainder(dividingBy: segments)
        let columns = columns(columnBlock)
        var scratch = Scratch(count: Self.keys, parts: 1)
        let biases = unsafe scratch.take(Self.keys)
        forEachTile(of: length) { keys in
          let from = unsafe block.base + (sequence * length + keys.lowerBound) * 2 * step
          for token in segment * Self.rows..<min((segment + 1) * Self.rows, count) {
            let number = seen(token, positions, keys, own)
            if number == 0 { continue }
            unsafe gather(token, positions, keys, into: biases)
            for column in Swift.stride(from: columns.lowerBound, to: columns.upperBound, by: 8) {
              let row = unsafe means.row(sequence, token) + column
              var sums = unsafe AFTKernel.Sums(row, step: step)
              unsafe AFTKernel.meet(
                &sums, from + column, step: step, row: 2 * step, count: number,
                AFTKernel.Bias(pairs: biases))
              unsafe sums.store(to: row, step: step)
            }
          }
          poll()
        }
      }
    }
  }

  func backward(
    _ slopes: AFTMeans, to gradients: MixerTensors, on line: RankLine
  ) throws(MPIError) {
    let sums = MixerTensor(zeros: pairs.form, tokens: line.tokens)
    let dw = gradients["dw"]
    try ring.run(pairs, sums: sums, on: line) { visit throws(MPIError) in
      try pairGradients(visit, slopes, on: line)
      try biasGradients(visit, slopes, to: dw, on: line)
    }
    unsafe AFTPairs.unpack(sums.base, mixer, to: gradients, on: line)
  }

  /// Gradients of keys and values: some channels of a sequence are one piece of work, since all
  /// tokens add to them.
  private func pairGradients(
    _ visit: Ring.Visit, _ slopes: AFTMeans, on line: RankLine
  ) throws(MPIError) {
    let own = shards[line.rank]
    let (positions, block, target) = (shards[visit.owner], visit.block, visit.sums)
    let (blocks, length) = (columnBlocks, counts[visit.owner])
    try visit.compute(mixer.batch * blocks) { [self] index, poll in
      let (sequence, columnBlock) = index.quotientAndRemainder(dividingBy: blocks)
      let columns = columns(columnBlock)
      var scratch = Scratch(count: Self.keys, parts: 1)
      let biases = unsafe scratch.take(Self.keys)
      forEachTile(of: length) { keys in
        let first = (sequence * length + keys.lowerBound) * 2 * step
        for token in 0..<count {
          let number = seen(token, positions, keys, own)
          if number == 0 { continue }
          unsafe gather(token, positions, keys, into: biases)
          for column in Swift.stride(from: columns.lowerBound, to: columns.upperBound, by: 8) {
            let slope = unsafe AFTKernel.Sums(slopes.row(sequence, token) + column, step: step)
            unsafe AFTKernel.meetBackward(
              slope, block.base + first + column, target.base + first + column, step: step,
              row: 2 * step, count: number, AFTKernel.Bias(pairs: biases), ofBias: nil)
          }
        }
        poll()
      }
    }
  }

  /// Gradients of the weights of pairs: some tokens of all sequences are one piece of work.
  private func biasGradients(
    _ visit: Ring.Visit, _ slopes: AFTMeans, to dw: MixerTensor, on line: RankLine
  ) throws(MPIError) {
    let own = shards[line.rank]
    let (positions, block) = (shards[visit.owner], visit.block)
    let length = counts[visit.owner]
    try visit.compute(segments(count)) { [self] segment, poll in
      var scratch = Scratch(count: 2 * Self.keys, parts: 2)
      let (biases, sums) = unsafe (scratch.take(Self.keys), scratch.take(Self.keys))
      forEachTile(of: length) { keys in
        for token in segment * Self.rows..<min((segment + 1) * Self.rows, count) {
          let number = seen(token, positions, keys, own)
          if number == 0 { continue }
          unsafe gather(token, positions, keys, into: biases)
          unsafe sums.update(repeating: 0, count: number)
          for sequence in 0..<mixer.batch {
            let from = unsafe block.base + (sequence * length + keys.lowerBound) * 2 * step
            for column in Swift.stride(from: 0, to: step, by: 8) {
              let slope = unsafe AFTKernel.Sums(slopes.row(sequence, token) + column, step: step)
              unsafe AFTKernel.addBiasGradients(
                slope, from + column, step: step, row: 2 * step, count: number,
                AFTKernel.Bias(pairs: biases), to: sums)
            }
          }
          for index in 0..<number {
            unsafe dw.base[token * mixer.tokens + positions[keys.lowerBound + index]] = sums[index]
          }
        }
        poll()
      }
    }
  }
}
