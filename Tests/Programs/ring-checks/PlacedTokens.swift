import Attention
import AttentionReference
import Foundation
import MPI
import SequenceParallel
import Sharding
import Tensors

/// Where tokens stand, what turns them and what decays: what kernels are told of it, and what the
/// oracle makes of it.
struct PlacedTokens {
  /// Positions of queries and keys, `[batch][tokens]`.
  let queries: [[Int]]
  let keys: [[Int]]
  /// Whether they are other than indices.
  let isTable: Bool
  var rotation: RotaryPositions?
  /// Whether pairs of columns count less the further tokens are apart.
  var decays = false
  /// First keys that stand next to a window.
  var sinks: (count: Int, window: Int)?

  /// Where tokens are by their indices.
  init(batch: Int, tokens: Int, keyTokens: Int) {
    isTable = false
    queries = Array(repeating: Array(keyTokens - tokens..<keyTokens), count: batch)
    keys = Array(repeating: Array(0..<keyTokens), count: batch)
  }

  /// Where some table says.
  init(queries: [[Int]], keys: [[Int]]) {
    (self.queries, self.keys, isTable) = (queries, keys, true)
  }

  private func place(ofQuery token: Int, _ batch: Int, forSinks: Bool) -> Int {
    guard forSinks, let sinks else { return queries[batch][token] }
    return min(queries[batch][token], keys[batch][0] + sinks.count + sinks.window - 1)
  }

  // MARK: Kernels

  /// What kernels are told.
  var places: (queries: TokenPositions, keys: TokenPositions) {
    guard isTable, let ofQueries = table(queries), let ofKeys = table(keys) else {
      return (TokenPositions(offset: queries[0].first ?? 0), TokenPositions())
    }
    return (ofQueries, ofKeys)
  }

  private func table(_ positions: [[Int]]) -> TokenPositions? {
    TokenPositions(positions.flatMap(\.self), batch: positions.count)
  }

  /// Where queries stand for sinks.
  var placesForSinks: TokenPositions {
    let all = queries.indices.map { batch in
      queries[batch].indices.map { place(ofQuery: $0, batch, forSinks: true) }
    }
    return table(all) ?? TokenPositions()
  }

  /// Runs both passes, and gives the gradients of queries and keys as they were.
  ///
  /// - Parameters:
  ///   - rules: of later keys is that of `attention`; this one is of sinks.
  ///   - groupLength: of xPos.
  func run(
    _ problem: Problem, _ attention: ShardedAttention, sinkRule: (any ScoreRule)?, _ route: Route,
    groupLength: Int?, _ options: DistributedAttention.Options, on world: borrowing Communicator
  ) throws -> Passes {
    let cached = sinks.map {
      CachedSinkAttention.Sinks(
        count: $0.count, queries: (places.queries, placesForSinks), rotation: rotation,
        scoreRule: sinkRule)
    }
    if decays, let rotation {
      return try run(
        problem, attention,
        XPosAttention(
          attention,
          decay: XPosDecay(rotation.pairing, columns: 2 * rotation.frequencies.count),
          places: XPosPlaces(queries: places.queries, keys: places.keys, sinks: cached),
          route: route, groupLength: groupLength, options: options, on: world), on: world)
    }
    if let cached {
      return try run(
        problem, attention,
        CachedSinkAttention(
          attention, sinks: cached, route: route, options: options, on: world), on: world)
    }
    return try run(
      problem, attention,
      DistributedAttention(attention, route: route, options: options, on: world), on: world)
  }

  private func run<Operator: AttentionOperator & ~Copyable>(
    _ problem: Problem, _ attention: ShardedAttention, _ engine: consuming Operator,
    on world: borrowing Communicator
  ) throws -> Passes {
    func turned(_ rows: MemoryRows, _ places: TokenPositions) -> any TokenRows {
      rotation.map { TurnedRows(rows, by: $0, at: places) } ?? rows
    }
    let queries = try attention.loadQueries(turned(problem.q, places.queries), rank: world.rank)
    let outputGradient = try problem.outputGradient.read(shard: queries.runs)
    try engine.load(keys: turned(problem.k, places.keys), values: problem.v)
    let output = try engine.forward(queries) { _ in }
    var gradients = try engine.backward(queries, output: output, outputGradient: outputGradient) {
      _ in
    }
    if let rotation {
      gradients.turnBack(
        by: rotation, queries: (queries.runs, places.queries),
        keys: (attention.keys.shards[world.rank], places.keys))
    }
    let traffic = engine.traffic
    try engine.close()
    return Passes(
      output: output, gradients: gradients, forwardTraffic: traffic, backwardTraffic: .zero,
      backward: .keys)
  }

  // MARK: Oracle

  /// Rules that differ for sinks.
  func rule(
    later: (any ReferenceScoreRule)?, sinks ofSinks: (any ReferenceScoreRule)?
  ) -> (any ReferenceScoreRule)? {
    guard let sinks, let later, let ofSinks else { return later }
    return RuleOfSinks(count: sinks.count, ofSinks: ofSinks, later: later)
  }

  /// Positions for a rule of distances.
  func reference(forSinks: Bool) -> ReferenceTokenPositions {
    ReferenceTokenPositions(
      queries: queries.indices.map { batch in
        queries[batch].indices.map { place(ofQuery: $0, batch, forSinks: forSinks) }
      }, keys: keys)
  }

  /// A row of a head as it meets others, or its gradient as it was before.
  private func changed(_ row: [Double], at position: Int, sign: Double, backwards: Bool) -> [Double]
  {
    guard let rotation else { return row }
    let twin = ReferenceRotation(
      frequencies: rotation.frequencies, magnitude: rotation.magnitude,
      isInterleaved: rotation.pairing == .interleaved)
    var row = backwards ? row : twin(row, position: Double(position))
    if decays {
      let (pairs, d) = (rotation.frequencies.count, 2 * Double(rotation.frequencies.count))
      for pair in 0..<pairs {
        let base = (2 * Double(pair) + 0.4 * d) / (1.4 * d)
        let factor = pow(base, sign * Double(position) / 512)
        let isHalf = rotation.pairing == .half
        row[isHalf ? pair : 2 * pair] *= factor
        row[isHalf ? pair + pairs : 2 * pair + 1] *= factor
      }
    }
    return backwards ? twin.transposed(row, position: Double(position)) : row
  }

  private var parts: Int { sinks == nil ? 1 : 2 }

  private func isSink(_ key: Int) -> Bool { key < sinks?.count ?? 0 }

  /// The same problem of turned rows: twice as many columns where queries stand elsewhere for
  /// sinks, of which a key has one half.
  func wide(_ problem: Problem) -> Problem {
    if rotation == nil { return problem }
    let (shape, d) = (problem.shape, problem.shape.headDim)
    let zeros = [Float](repeating: 0, count: d)
    func rows(
      _ source: MemoryRows, heads: Int, tokens: Int,
      _ part: (_ row: [Double], _ batch: Int, _ token: Int, _ number: Int) -> [Float]
    ) -> MemoryRows {
      let values = (0..<shape.batch * tokens * heads).flatMap { index in
        let row = source.values[index * d..<(index + 1) * d].map(Double.init)
        return (0..<parts).flatMap {
          part(row, index / heads / tokens, index / heads % tokens, $0)
        }
      }
      return MemoryRows([shape.batch, tokens, heads, parts * d], values: values)
    }
    return Problem(
      problem,
      q: rows(problem.q, heads: shape.queryHeads, tokens: problem.tokens) {
        row, batch, token, part in
        let position = place(ofQuery: token, batch, forSinks: part == 1)
        return changed(row, at: position, sign: 1, backwards: false).map { Float($0) }
      },
      k: rows(problem.k, heads: shape.kvHeads, tokens: problem.keyTokens) {
        row, batch, token, part in
        guard isSink(token) == (part == 1) else { return zeros }
        return changed(row, at: keys[batch][token], sign: -1, backwards: false).map { Float($0) }
      })
  }

  /// The gradients of queries and keys as they were.
  func narrow(_ expected: Expected, _ problem: Problem) -> Expected {
    if rotation == nil { return expected }
    let (shape, d) = (problem.shape, problem.shape.headDim)
    func rows(
      _ numbers: [Double], heads: Int, tokens: Int, sign: Double,
      _ position: (_ batch: Int, _ token: Int, _ part: Int) -> Int
    ) -> [Double] {
      (0..<shape.batch * tokens * heads).flatMap { index in
        var sum = [Double](repeating: 0, count: d)
        for part in 0..<parts {
          let first = (index * parts + part) * d
          let own = changed(
            Array(numbers[first..<first + d]),
            at: position(index / heads / tokens, index / heads % tokens, part), sign: sign,
            backwards: true)
          for column in 0..<d { sum[column] += own[column] }
        }
        return sum
      }
    }
    return Expected(
      o: expected.o, lse: expected.lse,
      dq: rows(expected.dq, heads: shape.queryHeads, tokens: problem.tokens, sign: 1) {
        place(ofQuery: $1, $0, forSinks: $2 == 1)
      },
      dk: rows(
        // A key has nothing of the other half.
        expected.dk.enumerated().map { index, value in
          let token = index / (parts * d) / shape.kvHeads % problem.keyTokens
          return isSink(token) == (index / d % parts == 1) ? value : 0
        }, heads: shape.kvHeads, tokens: problem.keyTokens, sign: -1
      ) { batch, token, _ in keys[batch][token] },
      dv: expected.dv, dsinks: expected.dsinks)
  }
}

/// A rule of first keys, and another of later ones.
private struct RuleOfSinks: ReferenceScoreRule {
  let count: Int
  let ofSinks: any ReferenceScoreRule
  let later: any ReferenceScoreRule

  func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    (key < count ? ofSinks : later).score(s, batch: batch, query: query, key: key, head: head)
  }

  func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    (key < count ? ofSinks : later).slope(s, batch: batch, query: query, key: key, head: head)
  }
}

/// A bias tensor of a problem, which heads and sequences may share.
struct BiasCase {
  let source: RandomBias

  /// The number of a pair.
  func value(_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double {
    var numbers = [Float](repeating: 0, count: 1)
    var span = numbers.mutableSpan
    source.read(
      batch: source.shape[0] == 1 ? 0 : b, head: source.shape[1] == 1 ? 0 : h, query: i,
      keys: PositionRange(j..<j + 1), into: &span)
    return Double(numbers[0])
  }

  /// What a rank has to hold, the last part with gradients.
  func parts(
    _ attention: ShardedAttention, _ route: Route, backward: Travelling, rank: Int
  ) throws -> [BiasPart] {
    let forward = try attention.biasExtent(rank: rank, route: route, travelling: route.travelling)
    let ofGradients = try attention.biasExtent(rank: rank, route: route, travelling: backward)
    func load(_ extent: BiasExtent, _ collects: Bool) throws -> BiasPart {
      try extent.load(source, batch: attention.shape.batch, collectsGradients: collects)
    }
    return try (forward == ofGradients ? [] : [load(forward, false)]) + [load(ofGradients, true)]
  }

  /// Throws unless the gradients of this rank's part are the oracle's.
  func check(
    _ part: BiasPart, _ problem: Problem, _ expected: Expected, _ name: String,
    _ bias: (_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double
  ) throws {
    let shape = source.shape
    var wanted = [Double](repeating: 0, count: shape.elementCount)
    func place(_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Int {
      ((b * shape[1] + h) * shape[2] + i) * shape[3] + j
    }
    problem.forEachPair(expected, bias) { b, i, j, h, gradient in
      wanted[place(shape[0] == 1 ? 0 : b, i, j, shape[1] == 1 ? 0 : h)] += gradient
    }
    guard part.isWhole else { return }
    let allowed = 1e-4 * (1 + wanted.reduce(0) { max($0, abs($1)) })
    for b in 0..<part.batch {
      for h in part.heads {
        for (row, i) in part.queries.joined().enumerated() {
          let found = part.gradientRow(batch: b, head: h, row: row)
          for (column, j) in part.keys.joined().enumerated() {
            let value = wanted[place(b, i, j, h)]
            try require(
              abs(Double(found[column]) - value) <= allowed,
              "\(name): the gradient of bias \((b, h, i, j)) is \(found[column]), not \(value)")
          }
        }
      }
    }
  }
}
