import MPI
import Sharding
package import Tensors

/// What the checks of sampled rows share: which rows, how they are read and told to others, and how
/// far numbers are from the oracle's.

/// A token of one of the sequences.
struct SampledToken {
  let batch: Int
  let position: Int

  /// The ends of the sequences, and others spread by a fixed hash, in ascending order.
  ///
  /// - Parameter rows: the most to choose.
  static func choose(rows: Int, batch: Int, tokens: Int) -> [SampledToken] {
    let total = batch * tokens
    var chosen: Set<Int> = total <= rows ? Set(0..<total) : [0, tokens - 1, total - 1]
    var state: UInt64 = 0
    while chosen.count < min(rows, total) {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      chosen.insert(Int((state >> 33) % UInt64(total)))
    }
    return chosen.sorted().map { SampledToken(batch: $0 / tokens, position: $0 % tokens) }
  }

  /// The same of some of the tokens, ranges of which ascend without overlap; nil is all.
  static func choose(
    rows: Int, batch: Int, tokens: Int, among ranges: [Range<Int>]?
  ) -> [SampledToken] {
    guard let ranges else { return choose(rows: rows, batch: batch, tokens: tokens) }
    let count = ranges.reduce(0) { $0 + $1.count }
    return choose(rows: rows, batch: batch, tokens: count).map { token in
      var index = token.position
      for range in ranges {
        if index < range.count {
          return SampledToken(batch: token.batch, position: range.lowerBound + index)
        }
        index -= range.count
      }
      preconditionFailure("more tokens than there are")
    }
  }
}

extension [SampledToken] {
  func positions(batch: Int) -> [Int] { filter { $0.batch == batch }.map(\.position) }
}

extension Sharding {
  /// The rows of `positions` on every rank, `[positions][heads · headDim]`.
  ///
  /// Their owners read them from the source again. Called by all ranks together.
  func share(
    _ source: some TokenRows, batch: Int, positions: [Int], on world: borrowing Communicator
  ) throws -> [[Double]] {
    let owners = positions.map { owner(of: $0).rank }
    var rows = try world.agree {
      try zip(positions, owners).map { position, owner in
        guard owner == world.rank else { return [Float](repeating: 0, count: source.rowLength) }
        return try source.rows(batch: batch, tokens: PositionRange(position..<position + 1))
      }
    }
    for index in rows.indices { try world.broadcast(&rows[index], from: owners[index]) }
    return rows.map { $0.map(Double.init) }
  }

  /// The tokens of a rank in pieces of about 2¹⁸ numbers, each with the index of its first token
  /// among those of the rank.
  func pieces(of rank: Int, rowLength: Int) -> [(tokens: PositionRange, localIndex: Int)] {
    let length = max(1, (1 << 18) / max(1, rowLength))
    var pieces: [(tokens: PositionRange, localIndex: Int)] = []
    var localIndex = 0
    for run in shards[rank] {
      for start in stride(from: 0, to: run.count, by: length) {
        let tokens = run.slice(start..<min(start + length, run.count))
        pieces.append((tokens, localIndex))
        localIndex += tokens.count
      }
    }
    return pieces
  }
}

extension TokenRows {
  /// `[tokens, heads, headDim]`.
  package func rows(batch: Int, tokens: PositionRange) throws -> [Float] {
    var rows = [Float](repeating: 0, count: tokens.count * rowLength)
    var span = rows.mutableSpan
    try read(batch: batch, tokens: tokens, into: &span)
    return rows
  }
}

extension [Double] {
  /// Vector number `index` of an array of vectors of `count` numbers.
  package func vector(_ index: Int, count: Int) -> ArraySlice<Double> {
    self[index * count..<(index + 1) * count]
  }

  /// Adds a multiple of a vector to vector number `index`.
  mutating func add(_ factor: Double, times vector: ArraySlice<Double>, to index: Int) {
    let start = index * vector.count
    for (d, value) in vector.enumerated() { self[start + d] += factor * value }
  }
}

/// The scalar product of two vectors of the same length.
package func dot(_ a: ArraySlice<Double>, _ b: ArraySlice<Double>) -> Double {
  var sum = 0.0
  for (x, y) in zip(a, b) { sum += x * y }
  return sum
}

/// The largest difference of a tensor's numbers to the oracle's, relative to `1 + max|oracle|`.
struct RelativeError {
  private var magnitude = 0.0
  private var difference = 0.0

  /// Infinite where one is NaN, or infinite and should not be.
  var value: Double { difference / (1 + magnitude) }

  /// A difference as ``value`` has it.
  func relative(_ difference: Double) -> Double { difference / (1 + magnitude) }

  /// The largest difference itself.
  var absolute: Double { difference }

  /// Takes a number of the oracle into the magnitude.
  mutating func expect(_ expected: Double) {
    if expected.isFinite { magnitude = max(magnitude, abs(expected)) }
  }

  /// Takes a difference into account.
  mutating func compare(_ actual: Double, _ expected: Double) {
    if actual == expected { return }
    let isFinite = actual.isFinite && expected.isFinite
    difference = max(difference, isFinite ? abs(actual - expected) : .infinity)
  }
}
