import MPI

/// A check that all ranks of a job run together.
struct Check: Sendable {
  let name: String
  /// The numbers of ranks on which it shows something; nil is all.
  let ranks: Set<Int>?
  let run: @Sendable (borrowing Communicator) throws -> Void

  init(
    _ name: String, ranks: Set<Int>? = nil,
    _ run: @escaping @Sendable (borrowing Communicator) throws -> Void
  ) {
    self.name = name
    self.ranks = ranks
    self.run = run
  }

  /// All checks, in lists that tests run as one job for each number of ranks: a new one is a line
  /// here.
  private static let lists: [(name: String, checks: [Check])] = [
    (
      "ring",
      [
        Check("grid", checkGrid),
        Check("transports", checkTransports),
        Check("large-blocks", checkLargeBlocks),
        Check("traffic", checkTraffic),
        Check("routes", checkRoutes),
        Check("route-traffic", checkRouteTraffic),
        Check("runs", checkRuns),
        Check("route-refusal", checkRouteRefusal),
        Check("bits", checkBits),
        Check("score-rule", checkScoreRule),
        Check("cached-sinks", checkCachedSinks),
        Check("xpos", checkXPos),
        Check("xpos-long", ranks: [2], checkLongXPos),
        Check("global-projections", checkGlobalProjections),
        Check("labels", checkLabels),
        Check("combinations", checkCombinations),
        Check("arithmetic", checkArithmetic),
        Check("head-traffic", checkHeadTraffic),
        Check("several-layers", checkSeveralLayers),
        Check("mesh-refusal", checkMeshRefusal),
        Check("sampled-check", checkSampledCheck),
        Check("sampled-gradient-check", checkSampledGradientCheck),
        Check("parts", ranks: [1, 3, 4], checkParts),
      ]
    ),
    ("mixers", [Check("all-mixers", checkMixers)]),
    ("models", [Check("rewinding", checkRewinding), Check("samples", checkForkedSequences)]),
    (
      "longnet",
      [
        Check("dilated", checkDilated),
        Check("dilated-long", checkLongDilated),
        Check("dilated-detached", checkDetachedGradients),
        Check("streamed", ranks: [1, 2, 3], checkStreamed),
        Check("streamed-long", ranks: [1, 2, 3], checkStreamedLong),
        Check("streamed-sample-check", ranks: [1, 2, 3], checkStreamedSampleCheck),
      ]
    ),
  ]

  /// The names of lists and checks.
  static var names: [String] {
    lists.map(\.name) + lists.flatMap { $0.checks.map(\.name) }
  }

  /// The checks that some names stand for; nil if one stands for none, or there is no name.
  static func named(_ names: some Collection<String>) -> [Check]? {
    if names.isEmpty { return nil }
    var found: [Check] = []
    for name in names {
      let checks =
        lists.first { $0.name == name }?.checks
        ?? lists.flatMap(\.checks).filter { $0.name == name }
      if checks.isEmpty { return nil }
      found += checks
    }
    return found
  }
}
