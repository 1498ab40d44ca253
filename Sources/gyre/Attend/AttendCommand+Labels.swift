import ArgumentParser
import Attention
import AttentionReference
import Jobs
import MPI
import Reporting
import SequenceParallel
import Sharding
import Tensors

/// ETC's labels: tables of the input, terms of a rank's queries, and gradients of both tables.

extension LabelTables {
  /// Reads `etc_k` and `etc_bias`.
  ///
  /// - Parameter labels: as many as are used; there may be more.
  init(in file: SafetensorsFile, shape: AttentionShape, labels: Int) throws {
    let (heads, columns) = (shape.queryHeads, shape.headDim)
    let needed = "[2, \(heads), labels, \(columns)], with \(labels) labels or more"
    for name in ["etc_k", "etc_bias"] where file.entry(name) == nil {
      throw UserError(
        "'\(file.path)': --etc-radius needs tables etc_k \(needed), and etc_bias [2, \(heads), "
          + "labels], and there is no \(name) in the file; add it, or leave the option out.")
    }
    let (keys, biases) = (try file.source("etc_k"), try file.source("etc_bias"))
    let count = biases.shape.rank == 3 ? biases.shape[2] : 0
    guard biases.shape == [2, heads, count], count >= labels,
      keys.shape == [2, heads, count, columns]
    else {
      throw UserError(
        "'\(file.path)': etc_k is \(keys.shape) and etc_bias \(biases.shape); give etc_k "
          + "\(needed), and etc_bias the same without columns: of long tokens' rows, and of global "
          + "ones'.")
    }
    func numbers(_ source: TensorSource) throws -> [Float] {
      let tensor = try source.readAll()
      return (0..<tensor.count).map { tensor.span[$0] }
    }
    self.init(
      keys: try numbers(keys), biases: try numbers(biases), heads: heads, labels: count,
      headDim: columns)
  }

  /// Standard-normal tables.
  init(random labels: Int, shape: AttentionShape, seed: UInt64) {
    func numbers(_ count: Int, _ tensor: UInt64) -> [Float] {
      var numbers = [Float](repeating: 0, count: count)
      var span = numbers.mutableSpan
      RandomNormal(seed: seed, tensor: tensor).fill(&span, from: 0)
      return numbers
    }
    let rows = 2 * shape.queryHeads * labels
    self.init(
      keys: numbers(rows * shape.headDim, 6), biases: numbers(rows, 7), heads: shape.queryHeads,
      labels: labels, headDim: shape.headDim)
  }
}

extension AttendCommand {
  /// The mask whose labels scores get; nil if there is none.
  private var etc: EtcMask? { masks.choice.masks.lazy.compactMap { $0 as? EtcMask }.first }

  private var labelDistance: Int { masks.window.etcDistance ?? 12 }

  /// The labels that are used; nil if there are none.
  var labelCount: Int? { etc.map { _ in 2 * labelDistance + 3 } }

  /// Refuses what labels make no sense with.
  func checkLabels(isNpy: Bool) throws {
    guard etc != nil else { return }
    guard !isNpy else {
      throw ValidationError(
        "--etc-radius needs tables of the input, for which .npy files have no place; give a "
          + ".safetensors file with q, k, v, etc_k and etc_bias.")
    }
  }

  /// A part of no query, for a problem before terms are found; none if there are no labels.
  func noLabels(_ input: AttentionInput) -> [LabelPart] {
    guard let etc else { return [] }
    return [
      LabelPart(
        etc.labels(input.maskInputs, distance: labelDistance), radius: 0, batch: 0, heads: 0..<0,
        queries: [], keyTokens: input.keyTokens, collectsGradients: false)
    ]
  }

  /// What a rank has to hold, and of which part it finds the gradients; none if there are no
  /// labels.
  ///
  /// - Parameters:
  ///   - route: of the forward pass.
  ///   - backward: nil if there is no such pass.
  private func labelExtents(
    _ input: AttentionInput, _ problem: ShardedAttention, _ route: Route,
    _ backward: BackwardDecision?, rank: Int
  ) throws -> [(extent: LabelExtent, collectsGradients: Bool)] {
    guard let etc, input.labels != nil else { return [] }
    let labels = etc.labels(input.maskInputs, distance: labelDistance)
    func extent(_ travelling: Travelling) throws -> LabelExtent {
      try problem.labelExtent(
        rank: rank, route: route, travelling: travelling, labels,
        radius: min(etc.radius, input.keyTokens))
    }
    let forward = try extent(route.travelling)
    guard let backward else { return [(forward, false)] }
    let ofGradients = try extent(backward.travelling)
    return forward == ofGradients
      ? [(forward, true)] : [(forward, false), (ofGradients, true)]
  }

  /// The parts of a rank, with the terms of the queries that it computes; none if there are no
  /// labels.
  func loadLabels(
    _ input: AttentionInput, _ plan: DensePlan, _ team: ThreadTeam, rank: Int
  ) throws -> [LabelPart] {
    guard let etc, let tables = input.labels else { return [] }
    let labels = etc.labels(input.maskInputs, distance: labelDistance)
    let extents = try labelExtents(
      input, plan.problem, plan.transport.route, plan.backward, rank: rank)
    return try extents.map { extent, collectsGradients in
      let part = extent.part(
        labels, radius: min(etc.radius, input.keyTokens), batch: input.shape.batch,
        keyTokens: input.keyTokens, collectsGradients: collectsGradients)
      try tables.fill(part, q: input.q, scale: plan.problem.scale, team: team)
      return part
    }
  }

  /// The memory of that.
  func labelBytes(
    _ input: AttentionInput, _ problem: ShardedAttention, _ route: Route,
    _ backward: BackwardDecision?, rank: Int
  ) throws -> Double {
    guard let etc, let tables = input.labels else { return 0 }
    let labels = etc.labels(input.maskInputs, distance: labelDistance)
    let extents = try labelExtents(input, problem, route, backward, rank: rank)
    func bytes(_ extent: LabelExtent, _ collectsGradients: Bool) -> Double {
      extent.byteCount(
        labels, radius: min(etc.radius, input.keyTokens), batch: input.shape.batch,
        keyTokens: input.keyTokens, collectsGradients: collectsGradients)
    }
    let own = try problem.labelExtent(
      rank: rank, route: .ring, travelling: .keys, labels, radius: etc.radius)
    return extents.reduce(Double(tables.byteCount * (gradients ? 8 : 1))) { sum, part in
      let held = sum + bytes(part.extent, part.collectsGradients)
      // On their way home gradients are there twice more, and their owner has them too.
      return part.collectsGradients && part.extent != own
        ? held + 2 * bytes(part.extent, true) + bytes(own, true) : held
    }
  }

  /// The gradients of both tables, called by all ranks together; those of queries get their part.
  func addLabelGradients(
    _ parts: [LabelPart], _ input: AttentionInput, _ plan: DensePlan,
    to result: inout PassResult, _ team: ThreadTeam, on world: borrowing Communicator
  ) throws {
    guard let tables = input.labels, let found = parts.first(where: { $0.collectsGradients }),
      var own = result.gradients.take()
    else { return }
    let problem = plan.problem
    let extents = try world.agreed {
      try (0..<world.size).compactMap {
        try labelExtents(input, problem, plan.transport.route, plan.backward, rank: $0)
          .first { $0.collectsGradients }?.extent
      }
    }
    let part = try found.gradientsAtHome(problem, extents: extents, on: world)
    let queries = try world.agreed {
      try problem.loadQueries(input.q, rank: world.rank, team: team)
    }
    let words = try tables.addGradients(
      of: part, queries: queries, scale: problem.scale, to: &own.dq, team: team)
    result.gradients = consume own
    result.labels = tables.gradients(merging: try world.allGather(words))
  }

  /// The twin of the labels; nil if there are none.
  func referenceLabels(_ input: AttentionInput, scale: Double) -> ReferenceLabels? {
    guard let etc, let tables = input.labels else { return nil }
    let sentences = input.maskTables[EtcMask.sentences]?.numbers
    let keyTokens = input.keyTokens
    return ReferenceLabels(
      q: input.q, tables: tables, distance: labelDistance, scale: scale, offset: input.offset,
      isGlobal: { token in etc.globals.tokens.contains { $0.contains(token) } },
      sentence: { batch, token in
        token < 0 ? -1 : sentences.map { Int($0[batch * keyTokens + token]) } ?? -1
      })
  }
}
