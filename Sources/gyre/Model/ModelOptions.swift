import ArgumentParser
import Attention
import Hosts
import Jobs
import Models
import MPI
import Reporting
import SequenceParallel
import Sharding
import Tensors

/// The options of every command that runs a model.
struct ModelOptions: ParsableArguments {
  @Argument(
    help: ArgumentHelp(
      "A .gguf file, or a folder of Hugging Face with config.json.", valueName: "model"),
    completion: .file(extensions: ["gguf"]))
  var model: String

  @OptionGroup var threading: ThreadOptions

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      The most tokens of a rank for which the widest rows of a layer are there at a time: memory \
      falls with it.
      """, valueName: "n"))
  var chunk = 512

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      The most tokens of a prompt that all ranks read together; what comes later attends to the \
      keys of what came before in the cache. Memory falls with it, and under a window does not \
      grow with the prompt. (default: with --window, or where layers carry states, four chunks of \
      each rank or a window; else all, if memory suffices)
      """, valueName: "n"))
  var piece: Int?

  @Flag(
    help: """
      Queries and outputs of attention are there for a chunk at a time too. Keys then travel once \
      for each chunk, so that it needs less memory and more of the network; one rank alone always \
      does so.
      """)
  var chunkQueries = false

  @Option(
    help: """
      The type in which keys and values travel and are kept: f32 loses nothing, f16 and bf16 take \
      half the memory, int8 a quarter; kivi4 keeps all but the newest in 4 bits, a sixth.
      """)
  var cacheType = CacheType.f32

  @Option(
    help: """
      What the products and the attention of a prompt are computed of: f32, or bf16, which rounds \
      their factors and takes less time on processors with avx512_bf16.
      """)
  var arithmetic = Arithmetic.f32

  @Option(
    help: """
      What the products of a prompt with weights are computed of, if not of the same: f32, bf16, \
      or int8, which rounds both to 8 bits with a scale for each 32 and takes less time than bf16 \
      on processors with avx512_vnni.
      """)
  var weightProducts: ProductArithmetic?

  @Flag(
    help: """
      What is computed of a prompt is the same bits for any number of ranks and threads, any \
      transport and any --chunk. Shards are then whole pieces of 768 tokens.
      """)
  var reproducible = false

  @Option(
    help: """
      Who multiplies by the weights for a token that is generated: each rank by all (replicated), \
      or by some columns of all (divided). (default: divided within a host)
      """)
  var weights: WeightsArgument?

  @Option(
    help: """
      How blocks travel, as in gyre attend. auto: the cheapest that there is room for.
      """)
  var transport = TransportArgument.auto

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      How positions reach further than the model was trained for, instead of what it says itself: \
      none, linear:S, ntk:S, dynamic-ntk:S,L, yarn:S,L, llama3:S,LOW,HIGH,L or longrope:FILE. \
      Layers with windows of their own keep theirs. (default: what the model says)
      """, valueName: "name:…"),
    transform: RopeScalingArgument.init(parsing:))
  var ropeScaling: RopeScalingArgument?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "A token sees the W keys up to its own, in all layers. (default: what the model says)",
      valueName: "W"))
  var window: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      The first S keys are seen whatever the window hides, from next to it, as in a cache that \
      holds nothing else (StreamingLLM). (default: none)
      """, valueName: "S"))
  var sinks: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Tokens of a page of the keys and values that are kept: small pages waste less, large ones \
      are read faster.
      """, valueName: "n"))
  var pageTokens = 256

  func validate() throws {
    guard (1...1 << 20).contains(chunk) else {
      throw ValidationError("--chunk is \(chunk); give a number from 1 to 1048576.")
    }
    if let piece, piece < 1 {
      throw ValidationError("--piece is \(piece); give at least 1, or leave it out.")
    }
    for (option, isGiven) in [("--piece", piece != nil), ("--window", window != nil)]
    where reproducible && isGiven {
      throw ValidationError(
        "\(option) cuts the keys of a prompt anywhere, and --reproducible at multiples of 768; "
          + "leave one of them out.")
    }
    guard PageTable.allows(pageTokens: pageTokens) else {
      throw ValidationError(
        "--page-tokens is \(pageTokens); give a multiple of 16 from 16 to 256.")
    }
    if let window, window < 1 {
      throw ValidationError(
        "--window is \(window), and a token sees at least itself; give at least 1, or leave it out."
      )
    }
    if let sinks {
      guard window != nil else {
        throw ValidationError(
          "--sinks says something about a window, and there is none; give --window with it, or "
            + "leave it out.")
      }
      guard sinks >= 1 else {
        throw ValidationError("--sinks is \(sinks); give at least 1, or leave it out for none.")
      }
    }
  }
}

/// `--weights replicated|divided`.
enum WeightsArgument: String, CaseIterable, ExpressibleByArgument {
  case replicated, divided
}

/// A model that is open on all ranks, and how it runs on them.
struct OpenModel {
  let file: ModelFile
  let decoder: Decoder
  let topology: Topology
  let team: ThreadTeam
  private var asked: ModelOptions

  /// Opens a model, called by all ranks together.
  init(_ asked: ModelOptions, on world: borrowing Communicator) throws {
    self.asked = asked
    let file = try world.agreed { try ModelFile(asked.model) }.sharingCopies(on: world)
    let decoder = try world.agreed { try Decoder(file) }
    let facts = "\(decoder.sizes) \(decoder.weightBytes) \(decoder.layerCount)"
    if let other = try world.lowestDifferingRank(facts) {
      throw AgreedFailure(
        message: world.rank == 0
          ? "gyre: '\(asked.model)' is another model on rank \(other) than on rank 0; give all "
            + "hosts the same file." : nil)
    }
    self.file = file
    self.decoder = decoder
    topology = try Topology(of: world)
    team = ThreadTeam(threads: try asked.threading.count(on: world))
  }

  /// The same model on some ranks alone, called by all of them together.
  ///
  /// - Parameter threads: of each rank.
  init(_ open: OpenModel, threads: Int, on members: borrowing Communicator) throws {
    (asked, file, decoder) = (open.asked, open.file, open.decoder)
    topology = try Topology(of: members)
    team = ThreadTeam(threads: threads)
  }

  /// The same model asked to run otherwise.
  func asked(_ options: ModelOptions) -> OpenModel {
    var other = self
    other.asked = options
    return other
  }

  /// How it runs on a sequence, if there is memory for it; called by all ranks together.
  ///
  /// - Parameters:
  ///   - tokens: of the prefill.
  ///   - context: the most tokens that there will be; nil if no keys and values are kept.
  ///   - forks: sequences that fork from the prompt.
  ///   - isFollowed: whether many tokens may come at once after them.
  ///   - contextWindows: of which the sequence consists; nil for a text in one piece.
  func options(
    tokens: Int, context: Int?, forks: Int = 0, isFollowed: Bool = false,
    contextWindows: ContextWindows? = nil,
    on world: borrowing Communicator
  ) throws -> (RunOptions, RunMemory) {
    if decoder.carriesState {
      try world.agreed { try requireNoAttention(contextWindows: contextWindows) }
    }
    var options = RunOptions()
    options.team = team
    options.chunk = asked.chunk
    options.arithmetic = asked.arithmetic
    options.weightProducts = asked.weightProducts
    options.accumulation = asked.reproducible ? .reproducible : .fast
    options.cacheType = asked.cacheType
    options.contextWindows = contextWindows
    options.forks = forks
    options.window = asked.window
    options.sinks = asked.sinks ?? 0
    options.pageTokens = asked.pageTokens
    options.isFollowed = isFollowed
    options.piece = try world.agreed { try piece(options, ranks: world.size) }
    // Four exchanges a layer pay within a host.
    options.dividesWeights = asked.weights.map { $0 == .divided } ?? (topology.nodes.count == 1)
    options.scaling = try world.agreed {
      try asked.ropeScaling.map { argument in
        guard let rotation = decoder.layers.first?.rotation else {
          throw UserError.usage(
            "--rope-scaling says something about rotary positions, and a model of "
              + "\(decoder.architecture) has none; leave it out.")
        }
        return try argument.scaling(pairs: rotation.columns / 2)
      }
    }
    let length =
      max(tokens, context ?? 0) - (contextWindows.map { $0.tokens - $0.taskPosition } ?? 0)
    if let most = decoder.mostPositions, length > most {
      throw AgreedFailure(
        message: world.rank == 0
          ? "gyre: the model has \(grouped(most)) positions, and the sequence would have "
            + "\(grouped(length)) tokens; use a shorter one." : nil,
        code: usageExitCode)
    }
    options.route = try route(options, tokens: tokens, on: world)
    options.choosesWhatTravels = asked.transport.isAuto
    options.chunksQueries = asked.chunkQueries || world.size == 1
    if asked.chunkQueries, options.route.travelling != .keys || options.route.heads != .nobody {
      throw AgreedFailure(
        message: world.rank == 0
          ? "gyre: --chunk-queries is for routes on which keys travel and heads stay, and "
            + "--transport \(options.route) is none; choose ring, or leave one of them out." : nil,
        code: usageExitCode)
    }
    return try fitting(options, tokens: tokens, context: context, on: world)
  }

  /// In what pieces a prompt is read, unless that depends on memory.
  private func piece(_ options: RunOptions, ranks: Int) throws -> Int? {
    if asked.piece != nil, options.contextWindows != nil {
      throw UserError.usage(
        "--piece cuts one text, and --window-files are several; leave one of them out.")
    }
    if asked.reproducible, options.contextWindows != nil {
      throw UserError.usage(
        "--window-files cuts the keys of a prompt anywhere, and --reproducible at multiples of "
          + "768; leave one of them out.")
    }
    return asked.piece ?? options.boundedPiece(of: decoder, ranks: ranks)
  }

  /// Saves memory where it would not suffice otherwise.
  private func fitting(
    _ options: RunOptions, tokens: Int, context: Int?, on world: borrowing Communicator
  ) throws -> (RunOptions, RunMemory) {
    func memory(_ options: RunOptions) -> RunMemory {
      RunMemory(
        decoder, prompt: tokens, context: context, options: options, topology: topology,
        rank: world.rank)
    }
    let node = try world.splitByNode()
    func needed(_ memory: RunMemory) throws -> Int {
      try node.allReduce(memory.ownBytes, with: .sum) + memory.weights
    }
    let fitted = try options.fitted(keepsKeys: context != nil, ranks: world.size) {
      let isEnough = HostMemory.current.usableBytes >= (try needed(memory($0)))
      return try world.allReduce(isEnough ? 1 : 0, with: .min) == 1
    }
    let found = memory(fitted)
    try check(needed(found), ranks: node.size, on: world)
    return (fitted, found)
  }

  /// Refuses what is about attention, for a model that has none.
  private func requireNoAttention(contextWindows: ContextWindows?) throws {
    let given = [
      ("--window", asked.window != nil), ("--sinks", asked.sinks != nil),
      ("--chunk-queries", asked.chunkQueries), ("--reproducible", asked.reproducible),
      ("--context-window", contextWindows != nil),
    ]
    if let (option, _) = given.first(where: \.1) {
      throw UserError.usage(
        "\(option) says something about attention, and a model of \(decoder.architecture) has "
          + "none; leave it out.")
    }
  }

  private func route(
    _ options: RunOptions, tokens: Int, on world: borrowing Communicator
  ) throws -> Route {
    if let route = try asked.transport.with(nil, nil).resolved(
      topology, shape: decoder.attentionShape)?.route
    {
      try world.agreed { try route.check(ranks: world.size, topology: topology, backward: nil) }
      return route
    }
    if world.size == 1 || decoder.carriesState { return .ring }
    let sharding = Sharding(
      .zigzag, tokens: tokens, ranks: world.size, granularity: options.accumulation.granularity)
    let problem = ShardedAttention(
      shape: decoder.attentionShape, queries: sharding, keys: sharding, pattern: CausalPattern(),
      wire: options.keyValueType, accumulation: options.accumulation)
    return try ChosenTransport(
      cheapestBy: RoutePlanner(problem, topology: topology), backward: nil, team: team, on: world
    ).route
  }

  /// Refuses what the hosts cannot hold before anything is taken.
  private func check(_ needed: Int, ranks: Int, on world: borrowing Communicator) throws {
    try world.agreed {
      try HostMemory.current.require(
        Double(needed), for: ranks == 1 ? "the model and its rows" : "\(ranks) ranks",
        remedy:
          "use more hosts, a shorter sequence, a smaller --chunk or --piece, or a narrower "
          + "--cache-type"
      )
    }
  }
}
