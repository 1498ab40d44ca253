public import Attention
public import MPI
import Sharding
public import Tensors

/// Attention whose global tokens have projections of their own, as Longformer's have.
///
/// A row of a global token is `softmax(scale · q_global k_globalᵀ) v_global` over all keys that it
/// sees; all other rows are of `q`, `k` and `v`, also where they see global tokens. Both are passes
/// of all ranks over a part of the queries, the other rows of which see nothing: what one of them
/// does not compute is neither computed nor sent in it.
///
/// Of global rows queries travel, where that is fewer bytes than keys: a few rows go by keys that
/// stay. A rank has its own rows of all six tensors, and a block of keys and values for either.
///
/// `Part` computes either part: ``DistributedAttention``, or ``XPosAttention`` where queries and
/// keys decay.
///
/// Source: Beltagy et al. 2020, Longformer, section 3.1: linear projections for global attention.
public struct GlobalProjectionAttention<Part: AttentionOperator & ~Copyable>:
  ~Copyable, AttentionOperator
where Part.Problem == ShardedAttention {
  /// What is computed, of all queries.
  public let problem: ShardedAttention
  private let projections: GlobalProjections
  private let queries: [Range<Int>]
  private let team: ThreadTeam
  private let world: Communicator
  private var others: Part
  private var global: Part
  /// Of global tokens, zeros in the rows of others.
  private var globalQueries: QueryShard

  /// Takes what computes either part, called by all ranks together.
  ///
  /// - Parameters:
  ///   - problem: of all queries.
  ///   - queries: the indices of those of global tokens.
  ///   - projections: read by ``load(keys:values:)``, or ``loadProjections()``.
  ///   - others: computes the problem as seen by the other queries.
  ///   - global: computes it as seen by those of global tokens.
  public init(
    _ problem: ShardedAttention, queries: [Range<Int>], projections: GlobalProjections,
    others: consuming Part, global: consuming Part, team: ThreadTeam,
    on world: borrowing Communicator
  ) throws(MPIError) {
    let own = try world.duplicate()
    self.problem = problem
    self.projections = projections
    self.queries = queries
    self.others = others
    self.global = global
    self.world = own
    self.team = team
    globalQueries = QueryShard(
      Tensor(zeros: [problem.shape.batch, 0, problem.shape.queryHeads, problem.shape.headDim]),
      runs: [])
  }

  /// The (query, key) pairs that this rank computes in a pass.
  public var pairs: Int { others.pairs + global.pairs }

  /// Where the time of the last pass went.
  public var timing: Timing { others.timing + global.timing }

  /// The point-to-point messages of this rank so far.
  public var traffic: Traffic { others.traffic + global.traffic }

  /// Packs this rank's own keys and values, of rows of other tokens.
  public mutating func pack(keys: borrowing Tensor<Float>, values: borrowing Tensor<Float>) {
    others.pack(keys: keys, values: values)
  }

  /// Reads and packs this rank's own keys and values, and what global tokens are computed with.
  public mutating func load(keys: some TokenRows, values: some TokenRows) throws {
    try others.load(keys: keys, values: values)
    try loadProjections()
  }

  /// Reads this rank's own rows of what global tokens are computed with.
  public mutating func loadProjections() throws {
    try global.load(keys: projections.k, values: projections.v)
    let runs = problem.queries.shards[world.rank]
    let tokens = runs.reduce(0) { $0 + $1.count }
    let rowLength = projections.q.rowLength
    var tensor = Tensor<Float>(
      zeros: [problem.shape.batch, tokens, problem.shape.queryHeads, problem.shape.headDim])
    var rows = tensor.mutableSpan
    for batch in 0..<problem.shape.batch {
      var first = batch * tokens
      for run in runs {
        for range in queries {
          let indices = run.indices(in: range)
          if indices.isEmpty { continue }
          var part = rows.part(
            (first + indices.lowerBound) * rowLength..<(first + indices.upperBound) * rowLength)
          try projections.q.read(batch: batch, tokens: run.slice(indices), into: &part)
        }
        first += run.count
      }
    }
    globalQueries = QueryShard(tensor, runs: runs)
  }

  /// The forward pass.
  public mutating func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    let ofOthers = try others.forward(queries, progress: progress)
    let output = ofOthers.merged(
      with: try global.forward(globalQueries, progress: progress), team: team)
    guard let sinks = problem.sinks else { return output }
    return sinks.applied(to: output, team: team)
  }

  /// The backward pass.
  public mutating func backward(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionGradients {
    var gradients = try others.backward(
      queries, output: output, outputGradient: outputGradient, progress: progress)
    let own = try global.backward(
      globalQueries, output: output, outputGradient: outputGradient, progress: progress)
    gradients.ofGlobals = own.projections()
    if let sinks = problem.sinks {
      gradients.dsinks = sinks.gradient(
        merging: try world.allGather(
          sinks.gradientSums(
            output, outputGradient: outputGradient, runs: queries.runs, team: team)))
    }
    return gradients
  }

  /// Gives back what the ranks share.
  public consuming func close() throws(MPIError) {
    try others.close()
    try global.close()
  }
}

extension GlobalProjectionAttention where Part == DistributedAttention {
  /// Connects the ranks, called by all of them together.
  ///
  /// - Parameters:
  ///   - problem: of all queries.
  ///   - queries: the indices of those of global tokens, and of the others.
  ///   - projections: read by ``load(keys:values:)``, or ``loadProjections()``.
  ///   - route: of the rows of other tokens.
  ///   - globalRoute: of those of global tokens; see ``GlobalProjections/route(of:after:)``.
  ///   - globalBackwardRoute: of their backward pass; nil goes back as it has come.
  ///   - options: of the rows of other tokens.
  public init(
    _ problem: ShardedAttention, queries: (global: [Range<Int>], others: [Range<Int>]),
    projections: GlobalProjections, route: Route, globalRoute: Route,
    globalBackwardRoute: Route? = nil, options: DistributedAttention.Options = .init(),
    on world: borrowing Communicator
  ) throws {
    var ofGlobals = options
    ofGlobals.backwardRoute = .route(globalBackwardRoute ?? globalRoute)
    try self.init(
      problem, queries: queries.global, projections: projections,
      others: DistributedAttention(
        problem.seen(by: queries.others), route: route, options: options, on: world),
      global: DistributedAttention(
        problem.seen(by: queries.global), route: globalRoute, options: ofGlobals, on: world),
      team: options.team, on: world)
  }
}

/// What the rows of global tokens are computed with, shaped like `q`, `k` and `v`.
public struct GlobalProjections: Sendable {
  /// `[batch, tokens, queryHeads, headDim]`, of which the rows of global tokens are read.
  public let q: any TokenRows
  /// `[batch, keyTokens, kvHeads, headDim]`.
  public let k: any TokenRows
  /// `[batch, keyTokens, kvHeads, valueHeadDim]`.
  public let v: any TokenRows

  /// Takes the three tensors.
  public init(q: any TokenRows, k: any TokenRows, v: any TokenRows) {
    (self.q, self.k, self.v) = (q, k, v)
  }

  /// What should travel for the rows of global tokens: queries, or keys if these are fewer bytes,
  /// on the route of other rows.
  ///
  /// - Parameters:
  ///   - planner: of ``ShardedAttention/seen(by:)`` global queries.
  ///   - route: of other rows.
  public static func route(of planner: RoutePlanner, after route: Route) -> Route {
    let ranks = planner.problem.ranks
    guard let grid = try? route.grid(ranks: ranks), grid.columns == 1 || grid.rows > 1 else {
      return route.with(.keys)
    }
    let (keys, queries) = (route.with(.keys), route.with(.queries))
    return planner.traffic(on: queries, .forward).bytesSentByAll
      <= planner.traffic(on: keys, .forward).bytesSentByAll ? queries : keys
  }
}

extension AttentionGradients {
  /// As those of what global tokens are computed with.
  fileprivate consuming func projections() -> ProjectionGradients {
    ProjectionGradients(dq: dq, dk: dk, dv: dv)
  }
}
