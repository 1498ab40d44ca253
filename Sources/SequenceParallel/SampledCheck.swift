import AttentionReference
public import Attention
public import MPI
import Sharding
import Tensors

/// A check of some rows of a distributed result against the oracle.
///
/// The owner of a sampled row reads its query from the source again and tells the others; every
/// rank reads its own keys and values again and computes the row over them in `Double`; the parts
/// are combined, and the owner compares. Nothing that the kernels have touched is used but the
/// result itself, and no rank holds more than a piece of the sequence.
public struct SampledCheck {
  /// What the check found, on every rank the same.
  public struct Finding: Hashable, Sendable {
    /// Rows that were compared, each with all of its heads.
    public let rows: Int
    /// The largest difference to the oracle in `o` or `lse`, each relative to `1 + max|oracle|`
    /// over the sampled rows; infinite where one is NaN, or infinite and should not be.
    public let maxError: Double
    /// The largest error that is put down to rounding: of the keys and values on the wire, and of
    /// arithmetic in single precision.
    public let tolerance: Double

    /// Whether the result is what it should be.
    public var holds: Bool { maxError <= tolerance }
  }

  private let attention: ShardedAttention
  private let bias: (_ query: Int, _ key: Int, _ head: Int) -> Double
  private let samples: [(batch: Int, position: Int)]

  /// Chooses the rows to check: the ends of the sequences, and others spread by a fixed hash.
  ///
  /// - Parameters:
  ///   - attention: the problem that was solved.
  ///   - rows: the most rows to check.
  ///   - bias: the mask as a plain function, added to the score: 0, a bias, or −∞.
  public init(
    of attention: ShardedAttention, rows: Int = 32,
    bias: @escaping (_ query: Int, _ key: Int, _ head: Int) -> Double
  ) {
    self.attention = attention
    self.bias = bias
    let tokens = attention.queries.tokens
    let total = attention.shape.batch * tokens
    var chosen: Set<Int> = total <= rows ? Set(0..<total) : [0, tokens - 1, total - 1]
    var state: UInt64 = 0
    while chosen.count < min(rows, total) {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      chosen.insert(Int((state >> 33) % UInt64(total)))
    }
    samples = chosen.sorted().map { ($0 / tokens, $0 % tokens) }
  }

  /// Compares, called by all ranks together.
  ///
  /// - Parameters:
  ///   - output: this rank's result.
  ///   - q: the source of the queries.
  ///   - k: the source of the keys.
  ///   - v: the source of the values.
  ///   - world: the communicator of the ranks.
  /// - Complexity: O(rows · keyTokens / P) in `Double`, and rows · queryHeads · (valueHeadDim
  ///   + 2) numbers from each rank to all; twice that for a wire that rounds.
  public func run(
    _ output: borrowing AttentionOutput, q: some TokenRows, k: some TokenRows, v: some TokenRows,
    on world: borrowing Communicator
  ) throws -> Finding {
    var magnitude = (o: 0.0, lse: 0.0)
    var error = (o: 0.0, lse: 0.0)
    var wireError = (o: 0.0, lse: 0.0)
    var largestScore = 0.0
    for batch in 0..<attention.shape.batch {
      let positions = samples.filter { $0.batch == batch }.map(\.position)
      if positions.isEmpty { continue }
      let queries = try shareQueries(q, batch: batch, positions: positions, on: world)
      func parts(_ wire: WireType) throws -> [[Double]] {
        try world.allGather(
          world.agree {
            try ownPart(
              queries, batch: batch, positions: positions, k: k, v: v, wire: wire,
              rank: world.rank)
          })
      }
      let exact = try parts(.f32)
      let travelled = attention.wire == .f32 ? exact : try parts(attention.wire)
      for (row, position) in positions.enumerated() {
        for head in 0..<attention.shape.queryHeads {
          let (expected, score) = combined(exact, row: row, head: head)
          let (rounded, _) = combined(travelled, row: row, head: head)
          for (a, b) in zip(rounded.output, expected.output) {
            wireError.o = max(wireError.o, abs(a - b))
          }
          if expected.logSumExp.isFinite {
            wireError.lse = max(wireError.lse, abs(rounded.logSumExp - expected.logSumExp))
          }
          for value in expected.output { magnitude.o = max(magnitude.o, abs(value)) }
          if expected.logSumExp.isFinite {
            magnitude.lse = max(magnitude.lse, abs(expected.logSumExp))
          }
          largestScore = max(largestScore, score)
          let owner = attention.queries.owner(of: position)
          guard owner.rank == world.rank else { continue }
          let found = difference(
            output, expected, batch: batch, token: owner.localIndex, head: head)
          error.o = max(error.o, found.o)
          error.lse = max(error.lse, found.lse)
        }
      }
    }
    func relative(_ error: (o: Double, lse: Double)) -> Double {
      max(error.o / (1 + magnitude.o), error.lse / (1 + magnitude.lse))
    }
    // The kernels are to compute on what has travelled as exactly as `Float` allows; what rounding
    // on the wire does to the exact result, the oracle says.
    return Finding(
      rows: samples.count, maxError: try world.allReduce(relative(error), with: .max),
      tolerance: 1e-5 + 4 * 0x1p-24 * largestScore + relative(wireError))
  }

  /// The sampled queries on every rank, `[positions][queryHeads · headDim]`.
  private func shareQueries(
    _ q: some TokenRows, batch: Int, positions: [Int], on world: borrowing Communicator
  ) throws -> [[Double]] {
    let owners = positions.map { attention.queries.owner(of: $0).rank }
    var rows = try world.agree {
      try zip(positions, owners).map { position, owner in
        guard owner == world.rank else { return [Float](repeating: 0, count: q.rowLength) }
        return try read(q, batch: batch, tokens: PositionRange(position..<position + 1))
      }
    }
    for index in rows.indices { try world.broadcast(&rows[index], from: owners[index]) }
    return rows.map { $0.map(Double.init) }
  }

  private func read(
    _ source: some TokenRows, batch: Int, tokens: PositionRange
  ) throws -> [Float] {
    var rows = [Float](repeating: 0, count: tokens.count * source.rowLength)
    var span = rows.mutableSpan
    try source.read(batch: batch, tokens: tokens, into: &span)
    return rows
  }

  /// Numbers that describe a part of a row: output, log-sum-exp, largest magnitude of a score.
  private var partLength: Int { attention.shape.valueHeadDim + 2 }

  /// The sampled rows over this rank's keys, `[positions][queryHeads][partLength]`, with keys and
  /// values rounded as `wire` does.
  private func ownPart(
    _ queries: [[Double]], batch: Int, positions: [Int], k: some TokenRows, v: some TokenRows,
    wire: WireType, rank: Int
  ) throws -> [Double] {
    let shape = attention.shape
    let piece = max(1, (1 << 18) / max(k.rowLength, v.rowLength))
    var results = Array(
      repeating: [ReferenceRow.Result](), count: positions.count * shape.queryHeads)
    var largestScores = [Double](repeating: 0, count: results.count)
    for run in attention.keys.shards[rank] {
      for start in stride(from: 0, to: run.count, by: piece) {
        let tokens = run.slice(start..<min(start + piece, run.count))
        let keys = wire.rounded(
          try read(k, batch: batch, tokens: tokens), columns: shape.headDim)
        let values = wire.rounded(
          try read(v, batch: batch, tokens: tokens), columns: shape.valueHeadDim)
        for (row, position) in positions.enumerated() {
          for head in 0..<shape.queryHeads {
            let kvHead = head * shape.kvHeads / shape.queryHeads
            let query = queries[row][head * shape.headDim..<(head + 1) * shape.headDim]
            var reference = ReferenceRow(valueHeadDim: shape.valueHeadDim)
            let index = row * shape.queryHeads + head
            for (token, key) in tokens.enumerated() {
              let added = bias(position, key, head)
              if added == -.infinity { continue }
              let keyStart = (token * shape.kvHeads + kvHead) * shape.headDim
              var dot = 0.0
              for d in 0..<shape.headDim { dot += query[query.startIndex + d] * keys[keyStart + d] }
              let score = attention.scale * dot + added
              largestScores[index] = max(largestScores[index], abs(score))
              let valueStart = (token * shape.kvHeads + kvHead) * shape.valueHeadDim
              reference.add(
                score: score, value: values[valueStart..<valueStart + shape.valueHeadDim])
            }
            results[index].append(reference.result)
          }
        }
      }
    }
    return zip(results, largestScores).flatMap { parts, largestScore in
      let whole = ReferenceRow.combine(
        parts + [ReferenceRow(valueHeadDim: shape.valueHeadDim).result])
      return whole.output + [whole.logSumExp, largestScore]
    }
  }

  /// One row over all keys, and the largest magnitude of its scores.
  private func combined(
    _ parts: [[Double]], row: Int, head: Int
  ) -> (row: ReferenceRow.Result, largestScore: Double) {
    let columns = attention.shape.valueHeadDim
    let start = (row * attention.shape.queryHeads + head) * partLength
    let whole = ReferenceRow.combine(
      parts.map {
        ReferenceRow.Result(
          output: Array($0[start..<start + columns]), logSumExp: $0[start + columns])
      })
    return (whole, parts.map { $0[start + columns + 1] }.max() ?? 0)
  }

  /// How far this rank's result for one row is from the oracle's.
  private func difference(
    _ output: borrowing AttentionOutput,
    _ expected: ReferenceRow.Result, batch: Int, token: Int, head: Int
  ) -> (o: Double, lse: Double) {
    let shape = attention.shape
    let tokens = output.o.shape[1]
    let first = ((batch * tokens + token) * shape.queryHeads + head) * shape.valueHeadDim
    let o = (0..<shape.valueHeadDim).map {
      distance(output.o.span[first + $0], expected.output[$0])
    }
    let lse = output.lse.span[(batch * shape.queryHeads + head) * tokens + token]
    return (o.max() ?? 0, distance(lse, expected.logSumExp))
  }

  private func distance(_ actual: Float, _ expected: Double) -> Double {
    if Double(actual) == expected { return 0 }
    return actual.isFinite && expected.isFinite ? abs(Double(actual) - expected) : .infinity
  }
}
