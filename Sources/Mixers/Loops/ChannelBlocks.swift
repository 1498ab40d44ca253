import Compute

/// Channels in blocks that one thread computes at a time, and the sequences that they are of.
struct ChannelBlocks {
  let batch: Int
  let channels: Int
  /// Channels of a block, of which the last of a sequence may have fewer.
  private let blockWidth: Int

  /// The most channels of a block.
  static let width = 256
  /// The fewest: one cache line.
  private static let leastWidth = 16

  /// Blocks as wide as leaves enough of them for all threads, and for ranks that work through them
  /// one after the other.
  ///
  /// - Parameters:
  ///   - threads: the most of a rank.
  ///   - each: how many blocks each of several ranks should have; 0 for as few as there are.
  init(batch: Int, channels: Int, ranks: Int, threads: Int, each: Int = 8) {
    (self.batch, self.channels) = (batch, channels)
    let wanted = max(threads, ranks > 1 ? each * ranks : 1)
    var width = Self.width
    while width > Self.leastWidth, batch * ((channels + width - 1) / width) < wanted { width /= 2 }
    blockWidth = width
  }

  /// Those of a job.
  init(batch: Int, channels: Int, on line: RankLine, each: Int = 8) {
    self.init(
      batch: batch, channels: channels, ranks: line.ranks, threads: line.mostThreads, each: each)
  }

  private var perSequence: Int { (channels + blockWidth - 1) / blockWidth }

  /// Blocks of all sequences.
  var count: Int { batch * perSequence }

  /// Which block of its sequence one is.
  func number(_ block: Int) -> Int { block % perSequence }

  /// Blocks of a sequence.
  var blocksPerSequence: Int { perSequence }

  /// Room for a block's channels, as whole vectors.
  var stride: Int { paddedToVectors(min(blockWidth, channels)) }

  /// The sequence and the channels of a block.
  subscript(block: Int) -> (sequence: Int, channels: Range<Int>) {
    let (sequence, number) = block.quotientAndRemainder(dividingBy: perSequence)
    let first = number * blockWidth
    return (sequence, first..<min(first + blockWidth, channels))
  }

  /// Where the states of blocks begin, of so many floats a channel.
  func cuts(_ length: Int) -> [Int] {
    (0..<count).map { block in
      let (sequence, range) = self[block]
      return (sequence * channels + range.lowerBound) * length
    } + [batch * channels * length]
  }
}

/// `ln(1 + e^x)`, lane by lane, to 3·10⁻⁷ of its size or of 1, whichever is more.
///
/// `ln(1 + e)` of `e = e^−|x|` is `2 artanh(e / (2 + e))`, whose argument is at most ⅓.
@inline(__always)
func softplus(_ x: Vector) -> Vector {
  let e = exp(-x.magnitude)
  let s = e / (Vector(repeating: 2) + e)
  let s2 = s * s
  var p = Vector(repeating: 2 / 15)
  p = Vector(repeating: 2 / 13).addingProduct(p, s2)
  p = Vector(repeating: 2 / 11).addingProduct(p, s2)
  p = Vector(repeating: 2 / 9).addingProduct(p, s2)
  p = Vector(repeating: 2 / 7).addingProduct(p, s2)
  p = Vector(repeating: 2 / 5).addingProduct(p, s2)
  p = Vector(repeating: 2 / 3).addingProduct(p, s2)
  p = Vector(repeating: 2).addingProduct(p, s2)
  return Vector.zero.larger(x).addingProduct(p, s)
}

/// `1 / (1 + e^−x)`, lane by lane.
@inline(__always)
func sigmoid(_ x: Vector) -> Vector {
  Vector(repeating: 1) / (Vector(repeating: 1) + exp(-x))
}
