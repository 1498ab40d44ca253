import Compute
import MPI
import Tensors

/// An attention free transformer without weights of pairs and without a mask: all tokens have one
/// mean, and its sums and their largest exponents are a summary of the sequence.
struct AFTSimple {
  private let mixer: AFT
  private let k: MixerTensor
  private let v: MixerTensor
  private var channels: Int { mixer.channels }
  private var step: Int { paddedToVectors(mixer.channels) }
  private let blocks: ChannelBlocks

  init(_ mixer: AFT, _ x: MixerTensors) {
    self.mixer = mixer
    (k, v) = (x["k"], x["v"])
    blocks = Self.blocks(mixer)
  }

  /// As wide as they may be, since nothing passes along.
  private static func blocks(_ mixer: AFT) -> ChannelBlocks {
    ChannelBlocks(batch: mixer.batch, channels: mixer.channels, ranks: 1, threads: 1)
  }

  /// What ranks exchange.
  static func exchanges(_ mixer: AFT, backward: Bool) -> [MixerExchange] {
    let blocks = blocks(mixer)
    let floats = blocks.count * blocks.stride
    return (backward ? [] : [.summary(floats: floats)]) + [.summary(floats: 2 * floats)]
  }

  private func numbers(_ columns: Int) -> MixerTensor {
    MixerTensor(
      zeros: TensorForm(
        name: "sums", dimensions: ["units", "columns"],
        sizes: [blocks.count, columns * blocks.stride]), tokens: 0)
  }

  /// The largest keys of all tokens.
  private func largest(on line: RankLine) throws(MPIError) -> MixerTensor {
    let tops = numbers(1)
    let count = line.tokens
    line.compute(blocks.count) { [self] block, _ in
      let (sequence, range) = blocks[block]
      let target = unsafe tops.base + block * blocks.stride
      forEachVector(range.count) { column in
        var top = Vector(repeating: AFTMeans.lowest)
        for token in 0..<count {
          top = top.larger(load(k, sequence * count + token, range, column))
        }
        unsafe top.store(to: target, at: column)
      }
    }
    try Summary.maximum.combine(tops, on: line)
    return tops
  }

  @inline(__always)
  private func load(_ tensor: MixerTensor, _ row: Int, _ range: Range<Int>, _ column: Int)
    -> Vector
  {
    unsafe Vector(
      loading: tensor.base + row * channels + range.lowerBound, at: column, of: range.count)
  }

  func forward(_ means: AFTMeans, on line: RankLine) throws(MPIError) {
    let tops = try largest(on: line)
    let (sums, count, width) = (numbers(2), line.tokens, blocks.stride)
    unsafe line.addUp(units: blocks.count, to: sums) { [self] block, tokens, total, poll in
      let (sequence, range) = blocks[block]
      forEachVector(range.count) { column in
        let top = unsafe Vector(loading: tops.base + block * width, at: column)
        for start in Swift.stride(from: tokens.lowerBound, to: tokens.upperBound, by: partOfSums) {
          var (values, weights) = (Vector.zero, Vector.zero)
          for token in start..<min(start + partOfSums, tokens.upperBound) {
            let row = sequence * count + token
            let weight = vanishingExp(load(k, row, range, column) - top)
            weights += weight
            values.addProduct(weight, load(v, row, range, column))
          }
          for lane in 0..<min(8, range.count - column) {
            unsafe total[column + lane] += Double(values[lane])
            unsafe total[width + column + lane] += Double(weights[lane])
          }
        }
      }
      poll()
    }
    try Summary.sum.combine(sums, on: line)
    line.compute(blocks.count) { [self] block, _ in
      let (sequence, range) = blocks[block]
      for token in 0..<count {
        let row = unsafe means.row(sequence, token) + range.lowerBound
        forEachVector(range.count) { column in
          let from = unsafe sums.base + block * 2 * width
          unsafe Vector(loading: from, at: column).store(to: row, at: column)
          unsafe Vector(loading: from, at: width + column).store(to: row, at: step + column)
          unsafe Vector(loading: tops.base + block * width, at: column)
            .store(to: row, at: 2 * step + column)
        }
      }
    }
  }

  func backward(
    _ slopes: AFTMeans, to gradients: MixerTensors, on line: RankLine
  ) throws(MPIError) {
    let (sums, count, width) = (numbers(2), line.tokens, blocks.stride)
    unsafe line.addUp(units: blocks.count, to: sums) { [self] block, tokens, total, _ in
      let (sequence, range) = blocks[block]
      for token in tokens {
        let row = unsafe slopes.row(sequence, token) + range.lowerBound
        for column in 0..<range.count {
          unsafe total[column] += Double(row[column])
          unsafe total[width + column] += Double(row[step + column])
        }
      }
    }
    try Summary.sum.combine(sums, on: line)
    let (dk, dv) = (gradients["dk"], gradients["dv"])
    line.compute(blocks.count) { [self] block, _ in
      let (sequence, range) = blocks[block]
      for token in 0..<count {
        let row = sequence * count + token
        let place = row * channels + range.lowerBound
        forEachVector(range.count) { column in
          let from = unsafe sums.base + block * 2 * width
          let top = unsafe Vector(
            loading: slopes.row(sequence, token) + 2 * step + range.lowerBound, at: column,
            of: range.count)
          let weight = vanishingExp(load(k, row, range, column) - top)
          let ofValue = unsafe weight * Vector(loading: from, at: column)
          let ofKey =
            unsafe ofValue * load(v, row, range, column)
            - weight * Vector(loading: from, at: width + column)
          unsafe ofValue.store(to: dv.base + place, at: column, of: range.count)
          unsafe ofKey.store(to: dk.base + place, at: column, of: range.count)
        }
      }
    }
  }
}
