import Attention
import AttentionReference
import Glibc
import MPI
import SequenceParallel
import Sharding
import Tensors

/// ETC: long and global tokens, and terms of labels; both passes and the gradients of both tables,
/// against sums that are written out.
func checkLabels(_ world: borrowing Communicator) throws {
  let ranks = world.size
  // Of the ways every third on each number of ranks, other ones on the next.
  let some = ways(ranks: ranks).enumerated().filter { $0.offset % 3 == ranks % 3 }.map(\.element)
  for (index, (route, backward)) in some.enumerated() {
    let tokens = [20 * ranks + 3, 37, 11 * ranks + 1][index % 3]
    let keyTokens = tokens + [0, 5, -4, 5][index % 4]
    let (queryHeads, kvHeads) = [(3, 3), (4, 2), (6, 1)][index % 3]
    let shape = AttentionShape(
      batch: 2, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 12, valueHeadDim: 16)
    let mask = EtcMask(
      radius: [6, 2, keyTokens][index / 2 % 3],
      globals: GlobalMask(tokens: [[0..<3], [], [5..<6, 9..<12]][index % 3]))
    let choice = PatternChoice([mask] + (index % 4 == 3 ? [CausalMask()] : []))
    let inputs = choice.drawnInputs(
      batch: 2, queryHeads: queryHeads, tokens: tokens, keyTokens: keyTokens,
      seed: UInt64(index))
    let labelled = Labelled(
      mask: mask, inputs: inputs, distance: [4, 12][index % 2], shape: shape, seed: index)
    var problem = Problem(
      shape: shape, tokens: tokens, keyTokens: keyTokens, logits: 1, seed: 1600 + UInt64(index))
    problem.referenceRule = labelled.rule(problem)
    if index % 2 == 1 { problem.sinks = (0..<queryHeads).map { Float($0) - 1 } }
    let attention = problem.attention(
      choice.pattern(inputs), layout: Layout.allCases[index % 4], ranks: ranks,
      accumulation: index % 3 == 2 ? .reproducible : .fast)
    var options = DistributedAttention.Options()
    options.topology = topology(for: route, ranks: ranks)
    options.backwardRoute = backward
    options.team = ThreadTeam(threads: 1 + index % 2)
    let name = "\(route), \(backward), \(choice), \(tokens) tokens"
    try labelled.check(problem, attention, route, options, name, on: world) {
      choice.bias(inputs)($0, $1, $2, $3)
    }
  }
}

/// Labels of a problem, and tables for them.
struct Labelled {
  let labels: RelativeLabels
  let mask: EtcMask
  let inputs: MaskInputs
  let tables: LabelTables

  init(mask: EtcMask, inputs: MaskInputs, distance: Int, shape: AttentionShape, seed: Int) {
    labels = mask.labels(inputs, distance: distance)
    (self.mask, self.inputs) = (mask, inputs)
    let rows = MemoryRows(
      [2, shape.queryHeads, labels.count + 2, shape.headDim + 1], seed: UInt64(seed), factor: 0.5)
    tables = LabelTables(
      keys: Array(rows.values.prefix(2 * shape.queryHeads * (labels.count + 2) * shape.headDim)),
      biases: Array(rows.values.suffix(2 * shape.queryHeads * (labels.count + 2))),
      heads: shape.queryHeads, labels: labels.count + 2, headDim: shape.headDim)
  }

  func rule(_ problem: Problem) -> ReferenceLabels {
    let (mask, inputs) = (mask, inputs)
    let sentences = inputs.tables[EtcMask.sentences]?.numbers ?? []
    return ReferenceLabels(
      q: problem.q, tables: tables, distance: labels.distance, scale: problem.scale,
      offset: inputs.offset,
      isGlobal: { token in mask.globals.tokens.contains { $0.contains(token) } },
      sentence: { batch, token in
        token < 0 ? -1 : Int(sentences[batch * inputs.keyTokens + token])
      })
  }

  /// Runs both passes, and throws unless all gradients are what the chain rule says.
  ///
  /// - Parameters:
  ///   - placement: what turns queries and keys; nil is nothing.
  ///   - groupLength: of xPos.
  ///   - isSmall: whether there may be hardly any.
  func check(
    _ problem: Problem, _ attention: ShardedAttention, _ route: Route,
    _ options: DistributedAttention.Options, _ name: String, placement: PlacedTokens? = nil,
    groupLength: Int? = nil, isSmall: Bool = false,
    on world: borrowing Communicator,
    bias: (_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double
  ) throws {
    let planner = RoutePlanner(
      attention, topology: options.topology ?? Topology(ranks: world.size, ranksPerNode: 1))
    let backward = planner.backwardDecision(options.backwardRoute, after: route).travelling
    func extent(_ rank: Int, _ travelling: Travelling) throws -> LabelExtent {
      try attention.labelExtent(
        rank: rank, route: route, travelling: travelling, labels, radius: mask.radius)
    }
    let (forward, ofGradients) = (
      try extent(world.rank, route.travelling), try extent(world.rank, backward)
    )
    func part(_ extent: LabelExtent, collects: Bool) throws -> LabelPart {
      let part = extent.part(
        labels, radius: mask.radius, batch: problem.shape.batch, keyTokens: problem.keyTokens,
        collectsGradients: collects)
      try tables.fill(part, q: problem.q, scale: problem.scale, team: options.team)
      return part
    }
    let collecting = try part(ofGradients, collects: true)
    let parts = try forward == ofGradients ? [] : [part(forward, collects: false)]
    let rules = [problem.scoreRule, LabelBias(parts + [collecting])]
    let placement =
      placement
      ?? PlacedTokens(
        batch: problem.shape.batch, tokens: problem.tokens, keyTokens: problem.keyTokens)
    var passes = try placement.run(
      problem, attention.with(scoreRule: RuleSequence.joining(rules)), sinkRule: nil, route,
      groupLength: groupLength, options, on: world)
    let queries = try attention.loadQueries(problem.q, rank: world.rank)
    let home = try collecting.gradientsAtHome(
      attention, extents: (0..<world.size).map { try extent($0, backward) }, on: world)
    let words = try tables.addGradients(
      of: home, queries: queries, scale: problem.scale, to: &passes.gradients.dq,
      team: options.team)
    let found = tables.gradients(merging: try world.allGather(words))
    let turned = placement.wide(problem)
    var expected = try turned.expected(on: world, bias)
    let chain = chain(problem, turned, expected, bias)
    expected = placement.narrow(expected, problem)
    expected = Expected(
      o: expected.o, lse: expected.lse, dq: zip(expected.dq, chain.dq).map { $0 + $1 },
      dk: expected.dk, dv: expected.dv, dsinks: expected.dsinks)
    try problem.check(
      passes, expected, attention, rank: world.rank, tolerance: 1e-5, gradientTolerance: 1e-4,
      name)
    for (actual, wanted, table) in [
      (found.keys, chain.keys, "etc_k"), (found.biases, chain.biases, "etc_bias"),
    ] {
      let largest = wanted.reduce(0) { max($0, abs($1)) }
      for (a, w) in zip(actual, wanted) {
        try require(
          abs(Double(a) - w) <= 1e-4 * (1 + largest),
          "\(name): a gradient of \(table) is \(a), not \(w)")
      }
      try require(
        (isSmall || largest > 0.01) && actual.count == wanted.count, "\(name): nothing of \(table)")
    }
  }

  /// `dS_ij = p_ij (do_i·v_j − Δ_i)`, summed up by labels.
  ///
  /// - Parameter turned: the same problem as queries meet keys.
  private func chain(
    _ problem: Problem, _ turned: Problem, _ expected: Expected,
    _ bias: (_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double
  ) -> (dq: [Double], keys: [Double], biases: [Double]) {
    let (shape, d) = (problem.shape, problem.shape.headDim)
    let rule = rule(problem)
    var dq = [Double](repeating: 0, count: expected.dq.count)
    var keys = [Double](repeating: 0, count: tables.keys.count)
    var biases = [Double](repeating: 0, count: tables.biases.count)
    turned.forEachPair(expected, bias) { b, i, j, h, gradient in
      let gradient = problem.scale * gradient
      let row = (b * problem.tokens + i) * shape.queryHeads + h
      let entry = rule.row(b, i, j, h)
      biases[entry] += gradient
      for c in 0..<d {
        keys[entry * d + c] += gradient * Double(problem.q.values[row * d + c])
        dq[row * d + c] += gradient * Double(tables.keys[entry * d + c])
      }
    }
    return (dq, keys, biases)
  }
}
