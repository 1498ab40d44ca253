import ArgumentParser
import Attention
import SequenceParallel
import Settings
import Sharding
import Tensors

/// `gyre attend`: options and what can be said about them without looking at any file.
struct AttendCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attend",
    abstract: "Exact attention of sharded queries over sharded keys and values.",
    usage: """
      mpirun -n P gyre attend INPUT --output OUTPUT [options]
      mpirun -n P gyre attend --random BxNxHxKxD [options]
      mpirun -n P gyre attend --q Q.npy --k K.npy --v V.npy [options]
      """,
    discussion: """
      INPUT is a .safetensors file with q [batch, tokens, queryHeads, headDim], k and v [batch, \
      keyTokens, kvHeads, headDim] in F32, F16 or BF16; the head dim of v may differ. --names and \
      --input-layout are for files with other names or with heads before tokens. OUTPUT gets o \
      (F32, the shape of q with the head dim of v) and lse [batch, queryHeads, tokens], the \
      natural-log log-sum-exp of the scores; with --gradients INPUT also has do (the shape of o) \
      and OUTPUT gets dq, dk and dv. Each rank reads and writes only its own rows; OUTPUT appears \
      whole or not at all.
      """)

  @Argument(
    help: ArgumentHelp("A .safetensors file with q, k and v.", valueName: "input"),
    completion: .file(extensions: ["safetensors"]))
  var input: String?

  @Option(
    help: ArgumentHelp(
      "Where o and lse go. Without it the run is only measured.", valueName: "file"),
    completion: .file(extensions: ["safetensors"]))
  var output: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Instead of a file: standard-normal q, k and v of batch × tokens × query heads × KV heads × \
      head dim, the same for every number of ranks; one more number is the head dim of v.
      """,
      valueName: "BxNxHxKxD"),
    transform: RandomProblem.init(parsing:))
  var random: RandomProblem?

  @Option(
    help: ArgumentHelp(
      """
      With --random: query tokens, the last of the sequence. (default: as many as there are tokens)
      """,
      valueName: "n"))
  var queries: Int?

  @Option(parsing: .unconditional, help: "The seed of --random.")
  var seed: UInt64 = 0

  @Option(
    help: ArgumentHelp("Queries in a .npy file, with --k and --v.", valueName: "file"),
    completion: .file(extensions: ["npy"]))
  var q: String?

  @Option(
    help: ArgumentHelp("Keys in a .npy file.", valueName: "file"),
    completion: .file(extensions: ["npy"]))
  var k: String?

  @Option(
    help: ArgumentHelp("Values in a .npy file.", valueName: "file"),
    completion: .file(extensions: ["npy"]))
  var v: String?

  @Option(
    name: .customLong("do"),
    help: ArgumentHelp(
      "The gradient of the output in a .npy file, for --gradients.", valueName: "file"),
    completion: .file(extensions: ["npy"]))
  var outputGradient: String?

  @OptionGroup(title: "Files")
  var files: FileOptions

  @Flag(
    help: """
      Also the backward pass: from do to dq, dk and dv. With --random do is random too.
      """)
  var gradients = false

  @OptionGroup(title: "Masks")
  var masks: FilePatternOptions

  @Option(
    help: """
      Which rank holds which tokens. contiguous: neighbours together. zigzag: early and late ones \
      in pairs. striped: in turn. balanced: pieces that cost as much on every rank, whatever the \
      mask; a rank holds at most 1.5 times the mean. The default is the one that balances the work \
      best, and of several the one whose ranks need fewest keys of others; the report says why.
      """)
  var layout: Layout?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Tokens in proportion to the speed of each rank, for example 2,1,1; not with striped.",
      valueName: "w0,w1,…"),
    transform: parseWeights)
  var weights: [Double]?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Multiplies q·k. (default: 1/√headDim)", valueName: "x"))
  var scale: Double?

  @OptionGroup
  var scoreRule: ScoreRuleOptions

  @OptionGroup(title: "Positions")
  var positions: PositionOptions

  @Flag(
    help: """
      The same bits for every number of ranks, layout, transport, number of threads and \
      instruction set. Shards are then whole pieces of 768 tokens.
      """)
  var reproducible = false

  @Option(
    help: """
      How blocks get to the ranks. ring: from each to the next. shared: in place, through the \
      shared memory of one host. hierarchical: shared memory inside a host, one ring between \
      hosts. allgather: to all at once, for small shards. query: queries go round instead, for few \
      queries against many keys. heads: each rank computes some heads for all tokens. mesh: A \
      neighbouring ranks share the heads, B such groups pass blocks round a ring; mesh:AxB or \
      --mesh names A and B. hierarchical+queries and mesh:2x4+allgather say in a word what \
      --travel and --mesh say beside a name. auto: shared on one host that has the room; on \
      several the one that takes least time by the formulas, with speeds measured in the first \
      milliseconds.
      """)
  var transport = TransportArgument.auto

  @Option(
    help: """
      What goes from rank to rank by --transport in the forward pass: keys, with values; or \
      queries, with their outputs after them. (default: keys; queries for --transport query)
      """)
  var travel: Travelling?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      The ranks that share heads and those of a ring, for --transport mesh; with the name of \
      another transport, those of a ring go by that. The default is the ranks of a host, or else \
      as many as divide the ranks and have KV heads.
      """, valueName: "AxB"),
    transform: Mesh.init(parsing:))
  var mesh: Mesh?

  @Option(
    help: """
      What travels with --gradients in the backward pass: kv, keys and values; query, queries. \
      (default: auto, whichever is fewer bytes)
      """)
  var backwardRoute: BackwardRouteChoice?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Take every n neighbouring ranks for a host, to try on one machine what runs on many; for \
      hierarchical and mesh.
      """, valueName: "n"))
  var ranksPerHost: Int?

  @Flag(
    inversion: .prefixedNo,
    help: "Transfers go on while ranks compute; --no-overlap shows what that is worth.")
  var overlap = true

  @Option(
    help: ArgumentHelp(
      """
      Write a timeline of all ranks in the Chrome trace format, which opens in Perfetto.
      """, valueName: "file"),
    completion: .file(extensions: ["json"]))
  var trace: String?

  @OptionGroup(title: "Plan")
  var explaining: ExplainOptions

  @OptionGroup var overwriting: OverwriteOptions

  @OptionGroup(title: "Dilated attention")
  var dilation: DilatedOptions

  @OptionGroup var threading: ThreadOptions

  @OptionGroup var instructionOptions: InstructionOptions

  @Option(
    help: """
      What products are computed of: f32, or bf16, pairs of which are summed in f32, on processors \
      that have instructions for it.
      """)
  var arithmetic = Arithmetic.f32

  @Option(
    help: """
      The type in which keys and values travel. The default is the type they have in the input, \
      which loses nothing, and bf16 with --arithmetic bf16; int8 has a scale for each token and \
      head.
      """)
  var wire: WireType?

  @Flag(help: "Check sampled rows against a slow, independent computation in double precision.")
  var verify = false

  @Option(help: "What rank 0 prints: a table or one JSON object.")
  var report = ReportFormat.text

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    try checkInputs()
    if let queries {
      guard let random else {
        throw ValidationError("--queries is for --random; leave it out, or give both.")
      }
      guard (1...random.tokens).contains(queries) else {
        throw ValidationError(
          "--queries is \(queries); give a number from 1 to the \(random.tokens) tokens.")
      }
    }
    guard gradients || backwardRoute == nil else {
      throw ValidationError(
        "--backward-route is of the backward pass; give --gradients with it, or leave it out.")
    }
    if let ranksPerHost, ranksPerHost < 1 {
      throw ValidationError("--ranks-per-host is \(ranksPerHost); give at least 1.")
    }
    if let scale, !scale.isFinite {
      throw ValidationError("--scale is \(scale); give a finite number.")
    }
    _ = try transport.with(mesh, travel)
    if weights != nil, layout == .striped {
      throw ValidationError(
        "--weights cannot be used with --layout striped; use balanced, zigzag or contiguous.")
    }
    if dilation.dilated != nil { try requireDilatable() }
    if let output { try requireSafetensorsEnding(output) }
  }

  /// Refuses no input, several inputs, and what does not belong to the one that there is.
  private func checkInputs() throws {
    let npyOptions = [("--q", q), ("--k", k), ("--v", v)].filter { $0.1 != nil }.map(\.0)
    let sources = [
      input.map { "the input file '\($0)'" }, random.map { "--random \($0)" },
      npyOptions.isEmpty ? nil : npyOptions.joined(separator: ", "),
    ].compactMap { $0 }
    if outputGradient != nil, npyOptions.isEmpty, let source = sources.first {
      throw ValidationError(
        "--do is for .npy files, with --q, --k and --v; \(source) has a do of its own: leave --do "
          + "out."
      )
    }
    guard sources.count == 1 else {
      throw ValidationError(
        sources.isEmpty
          ? "There is no input; name a .safetensors file, or give --random or --q, --k and --v."
          : "Give only one input: there are \(sources.joined(separator: " and ")).")
    }
    guard npyOptions.isEmpty || npyOptions.count == 3 else {
      throw ValidationError("--q, --k and --v belong together; give all three.")
    }
    guard npyOptions.isEmpty || (outputGradient != nil) == gradients else {
      throw ValidationError("--do and --gradients belong together for .npy files; give both.")
    }
    if positions.positionIds {
      guard masks.ofInput.windowAlign == nil else {
        throw ValidationError(
          "--position-ids and --window-align both say where tokens of context windows stand; leave "
            + "one of them out.")
      }
      guard input != nil else {
        throw ValidationError(
          "--position-ids needs position_ids [batch, tokens], which only a .safetensors input has; "
            + "give one, or leave it out.")
      }
      guard positions.pairing != nil || scoreRule.alibi else {
        throw ValidationError(
          "--position-ids says where tokens stand, and nothing asks; give --rope or --alibi with "
            + "it, or leave it out.")
      }
    }
    if !npyOptions.isEmpty, scoreRule.learnedSinks || scoreRule.bias {
      let option = scoreRule.bias ? "--bias" : "--learned-sinks"
      throw ValidationError(
        "\(option) is a tensor of the input, for which .npy files have no place; give a "
          + ".safetensors file with q, k, v and \(scoreRule.bias ? "bias" : "sinks").")
    }
    try checkLabels(isNpy: !npyOptions.isEmpty)
    try positions.checkSinkPositions(masks.window, masks.choice, scoreRule)
    try checkXPos()
    try files.check(isRandom: random != nil, isNpy: !npyOptions.isEmpty)
  }
}

/// Refuses names that promise another format; names without an ending promise none.
func requireSafetensorsEnding(_ path: String) throws {
  let name = path.split(separator: "/").last ?? ""
  guard let dot = name.lastIndex(of: "."), dot > name.startIndex else { return }
  let ending = name[dot...].dropFirst()
  guard ending != "safetensors", !ending.isEmpty else { return }
  throw ValidationError(
    "--output is '\(path)', and what is written is a .safetensors file, not .\(ending); "
      + "give it a name that ends in .safetensors.")
}

/// Parses `2,1,1`.
@Sendable
private func parseWeights(_ text: String) throws -> [Double] {
  let weights = text.split(separator: ",", omittingEmptySubsequences: false).map { Double($0) }
  guard weights.allSatisfy({ $0.map { $0.isFinite && $0 >= 0 } ?? false }),
    weights.contains(where: { $0 != 0 })
  else {
    throw ValidationError("give one number for each rank, not negative and not all zero.")
  }
  return weights.compactMap { $0 }
}
