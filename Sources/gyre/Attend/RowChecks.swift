import Attention
import AttentionReference
import MPI
import SequenceParallel
import Tensors

/// The sampled checks of a run: one of all rows, or one of the rows of global tokens and one of the
/// others, where these are computed with tensors of their own.
struct RowChecks<Problem: ShardedProblem> {
  let problem: Problem
  let scoreRule: (any ReferenceScoreRule)?
  let sinks: [Double]?
  let positions: ReferencePositions?
  /// The twin of ETC's labels, which is one of the rules; nil if there are none.
  let labels: ReferenceLabels?
  let team: ThreadTeam
  let bias: MaskFunction

  /// What they find, called by all ranks together.
  ///
  /// - Parameters:
  ///   - queries: of global tokens and of others; nil if all are computed alike.
  ///   - hasGradients: whether gradients, if there are any, are those of the definition.
  func findings(
    _ result: borrowing PassResult, _ input: AttentionInput,
    queries: (global: [Range<Int>], others: [Range<Int>])?, hasGradients: Bool,
    on world: borrowing Communicator
  ) throws -> Findings {
    let output = try check(
      result.output, (input.q, input.k, input.v), of: queries?.others, on: world)
    let ofGlobals = try queries.flatMap { queries in
      try input.projections.map {
        try check(result.output, ($0.q, $0.k, $0.v), of: queries.global, on: world)
      }
    }
    let gradients: SampledCheck.Finding? =
      switch result.gradients {
      case .some(let gradients) where hasGradients:
        try check(gradients, result, input, queries: queries, on: world)
      default: nil
      }
    return Findings(
      output: ofGlobals.map(output.joined(with:)) ?? output, gradients: gradients)
  }

  private func check(
    _ output: borrowing AttentionOutput,
    _ rows: (q: any TokenRows, k: any TokenRows, v: any TokenRows),
    of queries: [Range<Int>]?, on world: borrowing Communicator
  ) throws -> SampledCheck.Finding {
    try SampledCheck(
      of: problem, scoreRule: scoreRule, sinks: sinks, positions: positions, among: queries,
      team: team, bias: bias(of: queries)
    ).run(output, q: rows.q, k: rows.k, v: rows.v, on: world)
  }

  private func check(
    _ gradients: borrowing AttentionGradients, _ result: borrowing PassResult,
    _ input: AttentionInput, queries: (global: [Range<Int>], others: [Range<Int>])?,
    on world: borrowing Communicator
  ) throws -> SampledCheck.Finding? {
    guard let outputGradient = input.outputGradient else { return nil }
    let ofBias = result.bias.flatMap { part in input.bias.map { (part, $0.shape) } }
    func check(of queries: [Range<Int>]?) -> SampledGradientCheck {
      SampledGradientCheck(
        of: problem, scoreRule: scoreRule, sinks: sinks, positions: positions, among: queries,
        team: team, bias: bias(of: queries))
    }
    let checked = check(of: queries?.others)
    var finding = try checked.run(
      gradients, result.output, q: input.q, k: input.k, v: input.v,
      outputGradient: outputGradient, biasGradients: ofBias, on: world)
    if let labels, let found = result.labels {
      finding = finding.including(
        try checked.labelError(
          found, labels, result.output, q: input.q, k: input.k, v: input.v,
          outputGradient: outputGradient, on: world))
    }
    switch gradients.ofGlobals {
    case .some(let own):
      guard let projections = input.projections, let queries else { return finding }
      return finding.joined(
        with: try check(of: queries.global).run(
          own, result.output, q: projections.q, k: projections.k, v: projections.v,
          outputGradient: outputGradient, biasGradients: ofBias, on: world))
    case .none: return finding
    }
  }

  /// The mask of some of the queries; others see nothing.
  private func bias(of queries: [Range<Int>]?) -> MaskFunction {
    guard let queries else { return bias }
    let bias = bias
    return { batch, query, key, head in
      queries.contains { $0.contains(query) } ? bias(batch, query, key, head) : -.infinity
    }
  }
}
