import Attention
import AttentionReference
import Foundation
import MPI
import SequenceParallel
import Sharding
import Tensors

/// The decay of xPos, by groups of few keys, against the oracle of queries and keys that have their
/// powers, as long as those are numbers.
func checkXPos(_ world: borrowing Communicator) throws {
  let ranks = world.size
  for (index, (route, backward)) in ways(ranks: ranks).enumerated() where index % 2 == 0 {
    let tokens = [20 * ranks + 3, 37][index / 2 % 2]
    let keyTokens = tokens + [0, 5][index / 2 % 2]
    let (queryHeads, kvHeads) = [(3, 3), (4, 2), (6, 1)][index % 3]
    let shape = AttentionShape(
      batch: 2, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 20, valueHeadDim: 16)
    let pairing = RotaryPositions.Pairing.allCases[index / 2 % 2]
    let rotation = RotaryPositions(pairing, columns: 16, tokens: keyTokens)
    var problem = Problem(
      shape: shape, tokens: tokens, keyTokens: keyTokens, logits: 1, seed: 1200 + UInt64(index))
    if index % 3 == 0 { problem.sinks = (0..<queryHeads).map { Float($0) - 1 } }
    let attention = problem.attention(
      CausalPattern(offset: keyTokens - tokens), layout: Layout.allCases[index % 3], ranks: ranks,
      accumulation: index % 5 == 4 ? .reproducible : .fast)
    var options = DistributedAttention.Options()
    options.topology = topology(for: route, ranks: ranks)
    options.backwardRoute = backward
    let passes = try problem.run(
      attention, rotation, route, groupLength: [16, 1000][index / 4 % 2], options, on: world)
    try problem.check(
      passes, try problem.expectedWithDecay(rotation, on: world), attention, rank: world.rank,
      tolerance: 1e-5, gradientTolerance: 1e-4,
      "xPos on \(route), \(backward), \(tokens) tokens")
  }
}

/// Few queries past so many keys that powers are no numbers any more.
func checkLongXPos(_ world: borrowing Communicator) throws {
  let (tokens, keyTokens) = (3, 300_003)
  let shape = AttentionShape(batch: 1, queryHeads: 1, kvHeads: 1, headDim: 8, valueHeadDim: 1)
  let rotation = RotaryPositions(.interleaved, columns: 8, tokens: keyTokens)
  let problem = Problem(shape: shape, tokens: tokens, keyTokens: keyTokens, logits: 2, seed: 1300)
  let attention = problem.attention(
    CausalPattern(offset: keyTokens - tokens), layout: .contiguous, ranks: world.size)
  let passes = try problem.run(
    attention, rotation, .ring, groupLength: nil, DistributedAttention.Options(), on: world)
  let twin = rotation.twin
  func turned(_ rows: MemoryRows, _ token: Int, at position: Int) -> [Double] {
    twin(rows.values[8 * token..<8 * token + 8].map(Double.init), position: Double(position))
  }
  let own = attention.queries.shards[world.rank].flatMap(Array.init)
  for (local, token) in own.enumerated() {
    let position = token + keyTokens - tokens
    let query = turned(problem.q, token, at: position)
    var (sum, output) = (0.0, 0.0)
    for key in 0...position {
      let row = turned(problem.k, key, at: key)
      var score = 0.0
      for pair in 0..<4 {
        let factor = exp(log(zeta(pair, 8)) * Double(position - key) / 512)
        score +=
          factor * (query[2 * pair] * row[2 * pair] + query[2 * pair + 1] * row[2 * pair + 1])
      }
      let weight = exp(problem.scale * score)
      sum += weight
      output += weight * Double(problem.v.values[key])
    }
    let (lse, o) = (Double(passes.output.lse.span[local]), Double(passes.output.o.span[local]))
    try require(
      abs(lse - log(sum)) < 1e-5 && abs(o - output / sum) < 1e-5,
      "token \(token): \(lse) and \(o), not \(log(sum)) and \(output / sum)")
  }
  for index in 0..<passes.gradients.dk.count {
    try require(passes.gradients.dk.span[index].isFinite, "a gradient is no number")
  }
}

/// ζ of a pair of so many columns.
private func zeta(_ pair: Int, _ columns: Int) -> Double {
  (2 * Double(pair) + 0.4 * Double(columns)) / (1.4 * Double(columns))
}

extension RotaryPositions {
  fileprivate var twin: ReferenceRotation {
    ReferenceRotation(
      frequencies: frequencies, magnitude: magnitude, isInterleaved: pairing == .interleaved)
  }
}

extension Problem {
  fileprivate func run(
    _ attention: ShardedAttention, _ rotation: RotaryPositions, _ route: Route,
    groupLength: Int?, _ options: DistributedAttention.Options, on world: borrowing Communicator
  ) throws -> Passes {
    let places = TokenPositions(offset: keyTokens - tokens)
    let queries = try attention.loadQueries(
      TurnedRows(q, by: rotation, at: places), rank: world.rank)
    let outputGradient = try outputGradient.read(shard: queries.runs)
    var engine = try XPosAttention(
      attention,
      decay: XPosDecay(rotation.pairing, columns: 2 * rotation.frequencies.count),
      places: XPosPlaces(offset: keyTokens - tokens), route: route, groupLength: groupLength,
      options: options,
      on: world)
    try engine.load(keys: TurnedRows(k, by: rotation), values: v)
    let output = try engine.forward(queries) { _ in }
    var gradients = try engine.backward(queries, output: output, outputGradient: outputGradient) {
      _ in
    }
    gradients.turnBack(
      by: rotation, queries: (queries.runs, places),
      keys: (attention.keys.shards[world.rank], TokenPositions()))
    let traffic = engine.traffic
    try engine.close()
    return Passes(
      output: output, gradients: gradients, forwardTraffic: traffic, backwardTraffic: .zero,
      backward: .keys)
  }

  /// The oracle's answer, of rows that are turned and multiplied by their powers.
  fileprivate func expectedWithDecay(
    _ rotation: RotaryPositions, on world: borrowing Communicator
  ) throws -> Expected {
    let (twin, offset) = (rotation.twin, keyTokens - tokens)
    let columns = 2 * rotation.frequencies.count
    /// A row of a head and its powers, or its gradient as it was before them.
    func changed(_ row: [Double], at position: Int, sign: Double, backwards: Bool) -> [Double] {
      var row = backwards ? row : twin(row, position: Double(position))
      for pair in 0..<columns / 2 {
        let factor = pow(zeta(pair, columns), sign * Double(position) / 512)
        let first = rotation.pairing == .half ? pair : 2 * pair
        row[first] *= factor
        row[rotation.pairing == .half ? pair + columns / 2 : first + 1] *= factor
      }
      return backwards ? twin.transposed(row, position: Double(position)) : row
    }
    func all(
      _ numbers: [Double], _ tokens: Int, _ heads: Int, offset: Int, sign: Double, backwards: Bool
    ) -> [Double] {
      stride(from: 0, to: numbers.count, by: shape.headDim).flatMap { first in
        changed(
          Array(numbers[first..<first + shape.headDim]),
          at: first / shape.headDim / heads % tokens + offset, sign: sign, backwards: backwards)
      }
    }
    var other = self
    other.q = MemoryRows(
      q.shape,
      values: all(
        q.values.map(Double.init), tokens, shape.queryHeads, offset: offset, sign: 1,
        backwards: false
      ).map { Float($0) })
    other.k = MemoryRows(
      k.shape,
      values: all(
        k.values.map(Double.init), keyTokens, shape.kvHeads, offset: 0, sign: -1, backwards: false
      ).map { Float($0) })
    let found = try other.expected(on: world) { i, j, _ in j <= i + offset ? 0 : -.infinity }
    return Expected(
      o: found.o, lse: found.lse,
      dq: all(
        found.dq, tokens, shape.queryHeads, offset: offset, sign: 1, backwards: true),
      dk: all(found.dk, keyTokens, shape.kvHeads, offset: 0, sign: -1, backwards: true),
      dv: found.dv, dsinks: found.dsinks)
  }
}
