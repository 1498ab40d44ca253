import ArgumentParser
import Attention
import Glibc
import Hosts
import Jobs
import Models
import MPI
import Reporting
import Settings

/// `gyre perplexity`.
struct PerplexityCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "perplexity",
    abstract: "How well a model foretells a text, at each distance from its beginning.",
    usage: "mpirun -n P gyre perplexity MODEL --text FILE [options]",
    discussion: """
      The perplexity is e to the mean of −ln p over the tokens that are foretold, each from all \
      before it in its context. With --context the text is cut into contexts that begin --stride \
      tokens after each other, and of each but the first only the last --stride tokens count. \
      With --schemes or --contexts the last --stride tokens of the text are foretold by each \
      scheme from each context, which ends with them; the table with --report json is what gyre \
      plot draws.
      """)

  @OptionGroup var model: ModelOptions

  @Option(help: ArgumentHelp("A file with the text.", valueName: "file"), completion: .file())
  var text: String

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Tokens of the text, from its beginning. (default: all)", valueName: "n"))
  var tokens: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Tokens of a context. (default: all in one)", valueName: "n"))
  var context: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "From the beginning of a context to that of the next. (default: a context)", valueName: "n"))
  var stride: Int?

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp(
      """
      What is compared, one word each: model (as it is), none, linear:S, ntk:S, dynamic-ntk:S,L, \
      yarn:S,L, llama3:S,LOW,HIGH,L, longrope:FILE, window:W, window:W,S with S sinks.
      """, valueName: "name:…"), transform: SchemeArgument.init(parsing:))
  var schemes: [SchemeArgument] = []

  @Option(
    help: ArgumentHelp(
      "Contexts that are compared, joined by commas. (default: the whole text)", valueName: "n,…"),
    transform: { try parseIntegers($0, in: 2...1 << 32) })
  var contexts: [Int] = []

  @OptionGroup var windowFiles: WindowFileOptions

  @Option(help: "What rank 0 prints: a table or one JSON object.")
  var report = ReportFormat.text

  @OptionGroup var instructionOptions: InstructionOptions

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    if let tokens, tokens < 2 {
      throw ValidationError("--tokens is \(tokens); give at least 2, of which one is foretold.")
    }
    if let context, context < 2 {
      throw ValidationError("--context is \(context); give at least 2, of which one is foretold.")
    }
    if compares {
      if context != nil {
        throw ValidationError(
          "--context cuts a text, and --schemes and --contexts compare passes over its end; give "
            + "--contexts instead, or leave them out.")
      }
      if !windowFiles.windowFiles.isEmpty {
        throw ValidationError(
          "--window-files is of one pass, and --schemes and --contexts compare several; leave one "
            + "of them out.")
      }
      if let tokens, let most = contexts.max(), most > tokens {
        throw ValidationError(
          "--contexts has \(most), and --tokens \(tokens); give at least as many tokens.")
      }
      if !schemes.isEmpty, model.window != nil || model.ropeScaling != nil {
        throw ValidationError(
          "--schemes names windows and scalings itself; leave --window and --rope-scaling out.")
      }
    }
    guard let stride else { return }
    if compares {
      guard stride >= 1, contexts.allSatisfy({ stride < $0 }) else {
        throw ValidationError(
          "--stride is \(stride); give a number from 1 to less than the shortest context.")
      }
      return
    }
    guard let context else {
      throw ValidationError("--stride is of contexts; give --context with it, or leave it out.")
    }
    guard (1...context).contains(stride) else {
      throw ValidationError(
        "--stride is \(stride); give a number from 1 to the \(context) tokens of a context.")
    }
  }
}

extension PerplexityCommand: DistributedCommand, ComputingCommand {
  var arithmetics: [Arithmetic] { [model.arithmetic] }
  var weightProducts: ProductArithmetic? { model.weightProducts }

  /// Reads, runs context by context, reports.
  func run(on world: borrowing Communicator) throws {
    try world.agreed {
      guard world.rank == 0 else { return }
      var files = RunFiles(settings: layers)
      try files.read(model.model, as: "the model")
      try files.read(text, as: "--text")
      for scheme in schemes { try files.read(scheme.path, as: "the file of --schemes longrope") }
      try windowFiles.read(in: &files)
    }
    let open = try OpenModel(model, on: world)
    let all = try ModelText(open.file).tokens(
      vocabulary: open.decoder.sizes.vocabulary, on: world
    ) { tokenizer in
      tokenizer.encode(
        try ModelText.bytes(of: text, option: "--text"),
        addingBeginning: tokenizer.addsBeginning && windowFiles.windowFiles.isEmpty)
    }
    let least = max(2, tokens ?? 2, contexts.max() ?? 2)
    guard all.count >= least else {
      throw AgreedFailure(
        message: world.rank == 0
          ? "gyre: '\(text)' has \(counted(all.count, "token")), and \(least) are "
            + "asked for; give a longer text, or fewer --tokens." : nil, code: usageExitCode)
    }
    let ids = Array(all.prefix(tokens ?? all.count))
    if compares { return try compare(ids, open: open, on: world) }
    let windows = try windowFiles.windows(open, model, on: world)
    var sums = PositionSums()
    let start = ContinuousClock.now
    var computed = 0
    var sent = 0
    var memory: RunMemory?
    for range in pieces(tokens: ids.count) {
      let part = (windows?.tokens ?? []) + ids[range.tokens]
      let before = windows?.tokens.count ?? 0
      let (options, needed) = try open.options(
        tokens: part.count, context: nil,
        contextWindows: windows.map {
          ContextWindows($0.lengths, isStructured: windowFiles.structured, context: part.count)
        }, on: world)
      memory = memory ?? needed
      let prefill = try Prefill(open.decoder, tokens: part.count, options: options, on: world)
      var progress = ModelProgress(open, options, tokens: part.count, withLogits: true, on: world)
      let scores = try prefill.scores(part, on: world) { progress.advance(by: $0) }
      progress.clear()
      sent += prefill.bytesSent
      computed += part.count
      // The last token of a window does not know what comes.
      for position in max(1, range.firstCounted)..<range.tokens.count {
        sums.add(scores[before + position], at: position)
      }
    }
    let seconds = (ContinuousClock.now - start).inSeconds
    let result = PerplexityReport(
      model: open, sums: sums, tokens: ids.count, computedTokens: computed, seconds: seconds,
      bytesSent: try world.allReduce(sent, with: .sum),
      peakResidentBytes: try world.allReduce(ProcessMemory.peakResidentBytes, with: .max),
      options: self, ranks: world.size, memory: memory)
    try world.printReport(report == .json ? try jsonLine(result) : result.text)
  }

  /// The contexts, and from which of its positions on each counts.
  private func pieces(tokens: Int) -> [(tokens: Range<Int>, firstCounted: Int)] {
    let length = min(context ?? tokens, tokens)
    let step = stride ?? length
    var contexts = [(tokens: 0..<length, firstCounted: 1)]
    var end = length
    while end < tokens {
      let next = min(end + step, tokens)
      let first = max(0, next - length)
      // With steps of a whole context nothing but the first token of each is not foretold.
      contexts.append((first..<next, end - first))
      end = next
    }
    return contexts
  }
}

/// Sums of −ln p, by how far from the beginning of its context a token is.
struct PositionSums {
  private(set) var total = 0.0
  private(set) var count = 0
  private var buckets: [(sum: Double, count: Int)] = []

  /// Where buckets end: at 64 and then at powers of two.
  static func end(ofBucket bucket: Int) -> Int { 64 << bucket }

  mutating func add(_ score: Double, at position: Int) {
    total += score
    count += 1
    var bucket = 0
    while position >= Self.end(ofBucket: bucket) { bucket += 1 }
    while buckets.count <= bucket { buckets.append((0, 0)) }
    buckets[bucket].sum += score
    buckets[bucket].count += 1
  }

  /// The mean of all.
  var mean: Double { total / Double(count) }

  /// Those that have tokens.
  var byPosition: [PerplexityReport.Bucket] {
    buckets.enumerated().filter { $0.element.count > 0 }.map { number, bucket in
      PerplexityReport.Bucket(
        first: number == 0 ? 0 : Self.end(ofBucket: number - 1),
        end: Self.end(ofBucket: number), tokens: bucket.count,
        nll: bucket.sum / Double(bucket.count))
    }
  }
}
