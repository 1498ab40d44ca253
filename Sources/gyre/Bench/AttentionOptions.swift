import ArgumentParser
import Attention
import Benchmarks
import MPI
import Reporting
import SequenceParallel
import Sharding

/// What attention is measured: every combination of the lists.
struct AttentionOptions: ParsableArguments {
  @Option(
    name: .customLong("pass"), help: "Passes, of forward and backward. (default: forward,backward)",
    completion: .list(KernelPass.allCases.map(\.rawValue)),
    transform: { try parseNames($0, of: KernelPass.self) })
  var passes = KernelPass.allCases

  @Option(help: "Query heads.")
  var heads = 8

  @Option(help: "KV heads. (default: as many as there are query heads)")
  var kvHeads: Int?

  @Option(
    name: .customLong("head-dim"), help: "Head dims, for example 64,128. (default: 64)",
    transform: { try parseIntegers($0, in: 1...AttentionShape.largestHeadDim) })
  var headDims = [64]

  @Option(
    help: ArgumentHelp("Head dim of the values. (default: the head dim)", valueName: "n"))
  var valueHeadDim: Int?

  @OptionGroup var masks: PatternListOptions
  @OptionGroup var window: WindowOptions
  @OptionGroup var ofInput: InputMaskOptions

  @Option(
    name: .customLong("layout"),
    help: """
      Layouts, of contiguous, zigzag, striped and balanced. (default: as attend, the best for the \
      mask and the number of ranks)
      """,
    completion: .list(Layout.allCases.map(\.rawValue)),
    transform: { try parseNames($0, of: Layout.self) })
  var layouts: [Layout]?

  @Option(
    name: .customLong("transport"),
    help: """
      Transports, of ring, shared, hierarchical, allgather, query, heads, mesh, mesh:AxB and auto, \
      or of these with what travels, as hierarchical+queries and mesh:2x4+allgather. (default: \
      auto, as attend; of overlap and memory: ring)
      """,
    completion: TransportArgument.defaultCompletionKind, transform: parseTransports)
  var transports: [TransportArgument]?

  @Option(
    name: .customLong("wire"),
    help: """
      Types in which keys and values travel, of f32, f16, bf16 and int8. (default: that of the \
      arithmetic)
      """,
    completion: .list(WireType.allCases.map(\.rawValue)),
    transform: { try parseNames($0, of: WireType.self) })
  var wires: [WireType]?

  @Option(
    name: .customLong("arithmetic"),
    help: "What products are computed of, of f32 and bf16. (default: f32)",
    completion: .list(Arithmetic.allCases.map(\.rawValue)),
    transform: { try parseNames($0, of: Arithmetic.self) })
  var arithmetics = [Arithmetic.f32]

  @OptionGroup var scoreRule: ScoreRuleOptions

  @OptionGroup var position: PositionOptions

  @OptionGroup var threading: ThreadOptions

  @OptionGroup var instructionOptions: InstructionOptions

  func validate() throws {
    try requireHeads(heads, kvHeads)
    try window.requireNoLabels()
    try scoreRule.requireNoTensors()
    try position.requireRotationsAlone(headDims: headDims)
    if let valueHeadDim, !(1...AttentionShape.largestHeadDim).contains(valueHeadDim) {
      throw ValidationError(
        "--value-head-dim is \(valueHeadDim); give a number from 1 to "
          + "\(AttentionShape.largestHeadDim).")
    }
  }

  /// Refuses what was asked of attention where something else is measured.
  func requireNoneBeside(_ option: String) throws {
    let given = [
      ("--heads", heads != 8), ("--kv-heads", kvHeads != nil), ("--head-dim", headDims != [64]),
      ("--value-head-dim", valueHeadDim != nil), ("--layout", layouts != nil),
      ("--transport", transports != nil), ("--wire", wires != nil),
      ("--arithmetic", arithmetics != [.f32]), ("--softcap", scoreRule.softcap != nil),
      ("--alibi", scoreRule.alibi),
      ("masks", masks.choices(usual: .yes, with: window.masks + ofInput.masks) != [.causal]),
    ]
    if let (name, _) = given.first(where: \.1) {
      throw UserError.usage("\(name) cannot be used with \(option); leave it out.")
    }
  }

  /// Every combination but of passes.
  ///
  /// - Parameters:
  ///   - transport: that where none is named.
  ///   - threads: of each rank.
  func cases(by transport: TransportArgument, threads: Int) -> [AttentionCase] {
    let transports = transports ?? [transport]
    var cases: [AttentionCase] = []
    for headDim in headDims {
      for pattern in masks.choices(usual: .yes, with: window.masks + ofInput.masks) {
        for layout in layouts?.map(Layout?.some) ?? [nil] {
          for transport in transports {
            for arithmetic in arithmetics {
              for wire in wires ?? [arithmetic == .bf16 ? .bf16 : .f32] {
                cases.append(
                  attention(headDim, pattern, layout, transport, wire, arithmetic, threads))
              }
            }
          }
        }
      }
    }
    return cases
  }

  private func attention(
    _ headDim: Int, _ pattern: PatternChoice, _ layout: Layout?, _ transport: TransportArgument,
    _ wire: WireType, _ arithmetic: Arithmetic, _ threads: Int
  ) -> AttentionCase {
    AttentionCase(
      shape: AttentionShape(
        batch: 1, queryHeads: heads, kvHeads: kvHeads ?? heads, headDim: headDim,
        valueHeadDim: valueHeadDim ?? headDim),
      pattern: pattern, layout: layout, wire: wire, arithmetic: arithmetic, threads: threads,
      softcap: scoreRule.softcap.map { Float($0) }, alibi: scoreRule.alibi,
      rotation: position.pairing.map { pairing in
        (
          pairing.rawValue,
          { try position.positions(headDim: headDim, keyTokens: $0) }
        )
      }, transportName: transport.name
    ) { planner, gradients, members in
      try transport.settled(by: planner, gradients: gradients, threads: threads, on: members)
    }
  }
}

@Sendable
private func parseTransports(_ text: String) throws -> [TransportArgument] {
  try text.split(separator: ",", omittingEmptySubsequences: false).map { name in
    guard let transport = TransportArgument(argument: String(name)) else {
      throw unknownName(String(name), among: TransportArgument.allValueStrings)
    }
    return transport
  }
}

extension TransportArgument {
  /// The route asked for, or the one that should take least time, called by all ranks together.
  fileprivate func settled(
    by planner: RoutePlanner, gradients: Bool, threads: Int, on members: borrowing Communicator
  ) throws -> Route {
    let backward: BackwardRoute? = gradients ? .automatic : nil
    let chosen =
      try resolved(planner.topology, shape: planner.problem.shape)
      ?? (members.size == 1
        ? ChosenTransport(.ring)
        : ChosenTransport(
          cheapestBy: planner, backward: backward, team: ThreadTeam(threads: threads), on: members))
    try chosen.route.check(ranks: members.size, topology: planner.topology, backward: backward)
    return chosen.route
  }
}
