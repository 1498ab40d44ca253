import ArgumentParser
import Attention
import Benchmarks
import Glibc
import Reporting
import Results
import Settings
import Tensors

/// `gyre bench kernel`: the kernel on one process, against the multiply–add peak of a core.
struct KernelBenchCommand: ComputingCommand {
  static let configuration = CommandConfiguration(
    commandName: "kernel",
    abstract: "The attention kernel in one process, against the processor's multiply–add peak.",
    discussion: """
      Every combination of the lists is measured. Kernel, peak and memory bandwidth alternate \
      within one run, so that a machine whose speed drifts slows all; the medians are reported. \
      With few queries it is memory that limits: the table then says how fast keys and values are \
      read.
      """)

  @Option(
    name: .customLong("pass"), help: "Passes, of forward and backward. (default: forward,backward)",
    completion: .list(KernelPass.allCases.map(\.rawValue)),
    transform: { try parseNames($0, of: KernelPass.self) })
  var passes = KernelPass.allCases

  @Option(
    name: .customLong("head-dim"), help: "Head dims. (default: 64,128)",
    transform: { try parseIntegers($0, in: 1...AttentionShape.largestHeadDim) })
  var headDims = [64, 128]

  @Option(
    help: ArgumentHelp("Head dim of the values. (default: the head dim)", valueName: "n"))
  var valueHeadDim: Int?

  @Option(
    help: "Numbers of tokens, joined by commas. (default: 4096)",
    transform: { try parseIntegers($0, in: 1...1 << 24) })
  var tokens = [4096]

  @Option(
    help: "Query tokens, the last of the sequence. (default: as many as there are tokens)")
  var queries: Int?

  @Option(help: "Query heads.")
  var heads = 2

  @Option(help: "KV heads.")
  var kvHeads = 2

  @OptionGroup(title: "Masks") var masks: PatternListOptions
  @OptionGroup(title: "Masks") var window: WindowOptions
  @OptionGroup(title: "Masks") var ofInput: InputMaskOptions

  @Option(
    name: .customLong("dtype"),
    help: """
      Types of keys and values, of f32, f16, bf16 and int8. (default: that of the arithmetic)
      """,
    completion: .list(WireType.allCases.map(\.rawValue)),
    transform: { try parseNames($0, of: WireType.self) })
  var dtypes: [WireType]?

  @Option(
    name: .customLong("arithmetic"),
    help: "What products are computed of, of f32 and bf16. (default: f32)",
    completion: .list(Arithmetic.allCases.map(\.rawValue)),
    transform: { try parseNames($0, of: Arithmetic.self) })
  var arithmetics = [Arithmetic.f32]

  @Option(
    help: "Numbers of threads, joined by commas; auto: as many as there are cores. (default: 1)",
    transform: ThreadCount.list(parsing:))
  var threads = [ThreadCount.exactly(1)]

  @OptionGroup var instructionOptions: InstructionOptions

  @Option(
    help: ArgumentHelp(
      """
      How many copies of the problem are computed at the same time, each by --threads of its own: \
      what cores take from each other. (default: 1)
      """, valueName: "list"),
    transform: { try parseIntegers($0, in: 1...1024) })
  var copies = [1]

  @Flag(help: "Add up so that order cannot matter.")
  var reproducible = false

  @OptionGroup
  var scoreRule: ScoreRuleOptions

  @OptionGroup
  var position: PositionOptions

  @Option(help: "How often each is measured.")
  var repeats = 9

  @OptionGroup(title: "Output") var table: TableOptions

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    try requireHeads(heads, kvHeads)
    try window.requireNoLabels()
    try table.check(KernelBenchResult.columns)
    if let queries, !(1...(tokens.min() ?? 1)).contains(queries) {
      throw ValidationError(
        "--queries is \(queries); give a number from 1 to the number of --tokens.")
    }
    if let valueHeadDim, !(1...AttentionShape.largestHeadDim).contains(valueHeadDim) {
      throw ValidationError(
        "--value-head-dim is \(valueHeadDim); give a number from 1 to "
          + "\(AttentionShape.largestHeadDim).")
    }
    try scoreRule.requireNoTensors()
    try position.requireRotationsAlone(headDims: headDims)
    guard (1...1000).contains(repeats) else {
      throw ValidationError("--repeats is \(repeats); give a number from 1 to 1000.")
    }
  }

  func run() throws {
    let environment = BenchEnvironment.current(
      threads: mostThreads, linkRate: LinkRate.announced)
    if let most = copies.max(), most > 1, mostThreads > environment.cores {
      throw UserError.usage(
        "--copies \(most) of \(counted(threads.map(\.alone).max() ?? 1, "thread")) are more "
          + "threads than the \(counted(environment.cores, "core")) here; give fewer --copies.")
    }
    var printer = RowPrinter<KernelBenchResult>(table, environment)
    try KernelBench(runs(), repeats: repeats).measure(
      cores: environment.cores, progressOn: Terminal.openForProgress() ?? .log(STDERR_FILENO)
    ) { try printer.add([$0]) }
    try printer.finish()
  }

  /// Every arithmetic with every type.
  private var types: [(Arithmetic, WireType)] {
    arithmetics.flatMap { arithmetic in
      (dtypes ?? [arithmetic == .bf16 ? .bf16 : .f32]).map { (arithmetic, $0) }
    }
  }

  private var mostThreads: Int { (copies.max() ?? 1) * (threads.map(\.alone).max() ?? 1) }

  /// Every combination.
  private func runs() throws -> [(pass: KernelPass, problem: KernelBenchProblem)] {
    var runs: [(pass: KernelPass, problem: KernelBenchProblem)] = []
    for pass in passes {
      for headDim in headDims {
        for tokens in tokens {
          let rotation = try position.positions(headDim: headDim, keyTokens: tokens)
          for pattern in masks.choices(usual: .both, with: window.masks + ofInput.masks) {
            for (arithmetic, dtype) in types {
              for threads in threads.map(\.alone) {
                for copies in copies {
                  let problem = KernelBenchProblem(
                    shape: AttentionShape(
                      batch: 1, queryHeads: heads, kvHeads: kvHeads, headDim: headDim,
                      valueHeadDim: valueHeadDim ?? headDim),
                    tokens: tokens, queries: queries ?? tokens, choice: pattern, dtype: dtype,
                    threads: threads, accumulation: reproducible ? .reproducible : .fast,
                    arithmetic: arithmetic, softcap: scoreRule.softcap.map { Float($0) },
                    alibi: scoreRule.alibi, rotation: rotation, copies: copies)
                  runs.append((pass, problem))
                }
              }
            }
          }
        }
      }
    }
    return runs
  }
}
