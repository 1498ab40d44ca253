import Attention
import AttentionReference
import Foundation
import MPI
import SequenceParallel
import Sharding
import Tensors

/// A window with sinks in the positions of a cache, against a simulation that goes token by token:
/// a cache of the first S keys and the last W, each turned by its place in it.
func checkCachedSinks(_ world: borrowing Communicator) throws {
  let ranks = world.size
  // What is apart is the same on every way; other checks take the other half of them.
  for (index, (route, backward)) in ways(ranks: ranks).enumerated() where index % 2 == 1 {
    let (sinkCount, window) = [(3, 7), (1, 1), (4, 40), (70, 5)][index / 2 % 4]
    let tokens = [20 * ranks + 3, 37, 11 * ranks + 1][index % 3]
    let keyTokens = tokens + [0, 5][index / 2 % 2]
    let (queryHeads, kvHeads) = [(3, 3), (4, 2), (6, 1)][index % 3]
    let shape = AttentionShape(
      batch: 2, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 20, valueHeadDim: 16)
    var simulation = CacheSimulation(
      shape: shape, sinks: sinkCount, window: window, offset: keyTokens - tokens)
    let rotation = RotaryPositions(
      index / 2 % 2 == 0 ? .half : .interleaved, columns: 16, scaling: .yarn(4, trainedLength: 32),
      tokens: keyTokens)
    let isTurned = index % 3 != 1
    if isTurned { simulation.rotation = rotation }
    if index % 3 != 0 { simulation.slopes = (0..<queryHeads).map { 0.5 / Double(1 + $0) } }
    let accumulation: Accumulation = index % 5 == 4 ? .reproducible : .fast
    let pattern = IntersectedPattern([
      CausalPattern(offset: keyTokens - tokens),
      UnitedPattern([
        WindowPattern(width: window, offset: keyTokens - tokens), SinkPattern(count: sinkCount),
      ]),
    ])
    var problem = Problem(
      shape: shape, tokens: tokens, keyTokens: keyTokens, logits: 1, seed: 950 + UInt64(index),
      scoreRule: simulation.rule(last: .max), referenceRule: nil)
    if index / 2 % 4 == 0 { problem.sinks = (0..<queryHeads).map { Float($0) - 1 } }
    simulation.learned = problem.sinks?.map(Double.init)
    let attention = problem.attention(
      pattern, layout: Layout.allCases[index % 3], ranks: ranks, accumulation: accumulation)
    var options = DistributedAttention.Options()
    options.topology = topology(for: route, ranks: ranks)
    options.backwardRoute = backward
    options.team = ThreadTeam(threads: 1 + index / 2 % 2)
    let passes = try problem.run(
      attention, simulation, route, isTurned ? rotation : nil, options, on: world)
    try problem.check(
      passes, simulation.expected(problem), attention, rank: world.rank, tolerance: 1e-5,
      gradientTolerance: 1e-4,
      "\(route), \(backward), \(sinkCount) sinks, window \(window), \(tokens) tokens")
  }
}

extension Problem {
  /// Runs both passes, and gives the gradients of queries and keys as they were.
  fileprivate func run(
    _ attention: ShardedAttention, _ simulation: CacheSimulation, _ route: Route,
    _ rotation: RotaryPositions?, _ options: DistributedAttention.Options,
    on world: borrowing Communicator
  ) throws -> Passes {
    let places = TokenPositions(offset: simulation.offset)
    func turned(_ rows: MemoryRows, _ places: TokenPositions) -> any TokenRows {
      rotation.map { TurnedRows(rows, by: $0, at: places) } ?? rows
    }
    let queries = try attention.loadQueries(turned(q, places), rank: world.rank)
    let outputGradient = try outputGradient.read(shard: queries.runs)
    var engine = try CachedSinkAttention(
      attention,
      sinks: CachedSinkAttention.Sinks(
        count: simulation.sinks, window: simulation.window, offset: simulation.offset,
        rotation: rotation, scoreRule: simulation.rule(last: simulation.last)),
      route: route, options: options, on: world)
    try engine.load(keys: turned(k, TokenPositions()), values: v)
    let output = try engine.forward(queries) { _ in }
    var gradients = try engine.backward(queries, output: output, outputGradient: outputGradient) {
      _ in
    }
    if let rotation {
      gradients.turnBack(
        by: rotation, queries: (queries.runs, places),
        keys: (attention.keys.shards[world.rank], TokenPositions()))
    }
    let traffic = engine.traffic
    try engine.close()
    return Passes(
      output: output, gradients: gradients, forwardTraffic: traffic, backwardTraffic: .zero,
      backward: .keys)
  }
}

/// Attention of one token after the other over a cache, and its gradients by the chain rule.
private struct CacheSimulation {
  let shape: AttentionShape
  let sinks: Int
  let window: Int
  let offset: Int
  var rotation: RotaryPositions?
  var slopes: [Double]?
  var learned: [Double]?

  init(shape: AttentionShape, sinks: Int, window: Int, offset: Int) {
    (self.shape, self.sinks, self.window, self.offset) = (shape, sinks, window, offset)
  }

  var last: Int { sinks + window - 1 }

  /// The kernels' rule, of queries that stay at some position.
  func rule(last: Int) -> (any ScoreRule)? {
    slopes.map {
      Alibi(
        slopes: $0.map { Float($0) }, queries: TokenPositions(offset: offset, last: last),
        keys: TokenPositions())
    }
  }

  /// What a cache holds after it has taken up key `t`: the indices of keys, in order.
  private func cache(_ t: Int) -> [Int] {
    var held: [Int] = []
    for key in 0...t {
      held.append(key)
      // The oldest key that is no sink leaves.
      if held.count > sinks + window { held.remove(at: sinks) }
    }
    return held
  }

  private func turned(_ row: [Double], _ place: Int, backwards: Bool = false) -> [Double] {
    guard let rotation else { return row }
    let twin = ReferenceRotation(
      frequencies: rotation.frequencies, magnitude: rotation.magnitude,
      isInterleaved: rotation.pairing == .interleaved)
    return backwards
      ? twin.transposed(row, position: Double(place)) : twin(row, position: Double(place))
  }

  /// Both passes.
  func expected(_ problem: Problem) -> Expected {
    let numbers = [problem.q, problem.k, problem.v, problem.outputGradient].map {
      $0.values.map(Double.init)
    }
    var (o, lse) = (
      [Double](repeating: 0, count: numbers[3].count),
      [Double](repeating: 0, count: shape.batch * shape.queryHeads * problem.tokens)
    )
    var (dq, dk, dv) = (
      numbers[0].map { _ in 0.0 }, numbers[1].map { _ in 0.0 }, numbers[2].map { _ in 0.0 }
    )
    var dsinks = learned.map { $0.map { _ in 0.0 } } ?? []
    for b in 0..<shape.batch {
      for i in 0..<problem.tokens {
        let held = cache(i + offset)
        for h in 0..<shape.queryHeads {
          let kvHead = h * shape.kvHeads / shape.queryHeads
          let query = ((b * problem.tokens + i) * shape.queryHeads + h) * shape.headDim
          let output = ((b * problem.tokens + i) * shape.queryHeads + h) * shape.valueHeadDim
          let q = turned(Array(numbers[0][query..<query + shape.headDim]), held.count - 1)
          let places = held.map { ((b * problem.keyTokens + $0) * shape.kvHeads + kvHead) }
          let keys = places.enumerated().map {
            turned(
              Array(numbers[1][$1 * shape.headDim..<($1 + 1) * shape.headDim]), $0)
          }
          let scores = keys.enumerated().map { place, key in
            problem.scale * zip(q, key).reduce(0) { $0 + $1.0 * $1.1 }
              - (slopes?[h] ?? 0) * Double(held.count - 1 - place)
          }
          let total = log(
            scores.reduce(0) { $0 + exp($1) } + (learned.map { exp($0[h]) } ?? 0))
          lse[(b * shape.queryHeads + h) * problem.tokens + i] = total
          for (score, place) in zip(scores, places) {
            for d in 0..<shape.valueHeadDim {
              o[output + d] += exp(score - total) * numbers[2][place * shape.valueHeadDim + d]
            }
          }
          let delta = (0..<shape.valueHeadDim).reduce(0) {
            $0 + o[output + $1] * numbers[3][output + $1]
          }
          if let learned { dsinks[h] -= exp(learned[h] - total) * delta }
          var queryGradient = q.map { _ in 0.0 }
          for (number, place) in places.enumerated() {
            let weight = exp(scores[number] - total)
            var change = -delta
            for d in 0..<shape.valueHeadDim {
              let gradient = numbers[3][output + d]
              change += gradient * numbers[2][place * shape.valueHeadDim + d]
              dv[place * shape.valueHeadDim + d] += weight * gradient
            }
            let factor = problem.scale * weight * change
            for d in 0..<shape.headDim { queryGradient[d] += factor * keys[number][d] }
            let keyGradient = turned(q.map { factor * $0 }, number, backwards: true)
            for d in 0..<shape.headDim { dk[place * shape.headDim + d] += keyGradient[d] }
          }
          let back = turned(queryGradient, held.count - 1, backwards: true)
          for d in 0..<shape.headDim { dq[query + d] = back[d] }
        }
      }
    }
    return Expected(o: o, lse: lse, dq: dq, dk: dk, dv: dv, dsinks: dsinks)
  }
}
