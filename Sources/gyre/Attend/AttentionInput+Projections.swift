import Attention
import Reporting
import SequenceParallel
import Tensors

extension AttentionInput {
  /// What global tokens are computed with, opened; nil if the file has nothing of it.
  ///
  /// - Throws: a sentence, if it has a part of it or other shapes.
  func projections(
    in file: SafetensorsFile, _ options: FileOptions
  ) throws -> GlobalProjections? {
    let names = options.names ?? TensorNames()
    let roles: [(TensorNames.Role, any TokenRows)] = [(.globalQ, q), (.globalK, k), (.globalV, v)]
    if roles.allSatisfy({ !names.names($0.0) && file.entry(names[$0.0]) == nil }) { return nil }
    let found = try names.find(roles.map(\.0), in: file)
    let rows = try roles.map { role, twin -> any TokenRows in
      guard let source = found[role] else {
        preconditionFailure("what is not found is an error")
      }
      let expected = options.layout.fileShape(twin.shape)
      guard source.shape == expected else {
        throw UserError(
          "'\(file.path)': \(names[role]) is \(source.shape), and rows of global tokens are "
            + "computed with it as others are with \(role.rawValue.prefix(1)); give it that shape, "
            + "\(expected).")
      }
      return options.layout.view(source)
    }
    return .init(q: rows[0], k: rows[1], v: rows[2])
  }
}

/// The rows of global tokens that are computed apart: which they are, what that costs, and how it
/// goes.
struct PlannedGlobals {
  /// Of a sequence, by their indices.
  let queries: (global: [Range<Int>], others: [Range<Int>])
  let planner: RoutePlanner
  let route: Route
  /// Of the backward pass, if there is one.
  let backward: Route

  /// The memory of each rank.
  func residentBytes(gradients: Bool) -> [Double] {
    planner.residentBytes(on: route, backward: gradients ? backward : nil)
  }
}

extension AttendCommand {
  /// The rows that are computed apart; nil if there are none.
  func globalQueries(
    _ input: AttentionInput
  ) -> (global: [Range<Int>], others: [Range<Int>])? {
    input.projections.flatMap { _ in
      masks.window.globals?.queries(of: input.tokens, offset: input.offset)
    }
  }

  /// Refuses what cannot be computed in two parts.
  func checkProjections(_ input: AttentionInput) throws {
    guard input.projections != nil else { return }
    guard input.labels == nil else {
      throw UserError.usage(
        "The input has q_global, k_global and v_global, and ETC's global tokens have labels "
          + "instead; leave these tensors out, or take --window for --etc-radius.")
    }
  }

  /// How the rows of global tokens are computed, after others go by a route.
  ///
  /// - Parameters:
  ///   - route: of other rows.
  ///   - backward: of other rows; nil if there is no such pass.
  func planGlobals(
    _ input: AttentionInput, _ problem: ShardedAttention, after route: Route,
    _ backward: BackwardDecision?, _ topology: Topology
  ) -> PlannedGlobals? {
    guard let queries = globalQueries(input) else { return nil }
    let planner = RoutePlanner(problem.seen(by: queries.global), topology: topology)
    // A rank holds what it meets of a bias, which is the same in both parts on the same way.
    let own =
      input.bias == nil ? GlobalProjections.route(of: planner, after: route) : route
    return PlannedGlobals(
      queries: queries, planner: planner, route: own,
      backward: input.bias == nil ? own : backward?.route ?? own)
  }
}
