import ArgumentParser
import Attention
import Tensors

/// `gyre bench kernel`: the kernel on one process, against the multiply–add peak of a core.
struct KernelBenchCommand: ParsableCommand {
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
    name: .customLong("pass"), help: "Passes, of forward and backward.",
    transform: { try parseNames($0, of: KernelPass.self) })
  var passes = KernelPass.allCases

  @Option(
    name: .customLong("head-dim"), help: "Head dims, for example 64,128.",
    transform: { try parseIntegers($0, in: 1...AttentionShape.largestHeadDim) })
  var headDims = [64, 128]

  @Option(
    help: "Numbers of tokens.", transform: { try parseIntegers($0, in: 1...1 << 24) })
  var tokens = [4096]

  @Option(
    help: "Query tokens, the last of the sequence. (default: as many as there are tokens)")
  var queries: Int?

  @Option(help: "Query heads.")
  var heads = 2

  @Option(help: "KV heads.")
  var kvHeads = 2

  @Option(help: "With a causal mask, without, or both.")
  var causal = CausalChoice.both

  @Option(
    name: .customLong("dtype"), help: "Types of keys and values, of f32, f16, bf16 and int8.",
    transform: { try parseNames($0, of: WireType.self) })
  var dtypes = [WireType.f32]

  @Option(
    help: "Numbers of threads.", transform: { try parseIntegers($0, in: 1...1024) })
  var threads = [1]

  @Flag(help: "Add up so that order cannot matter.")
  var reproducible = false

  @Option(help: "How often each is measured.")
  var repeats = 9

  @Option(help: "A table, one JSON object, or rows for other programs.")
  var format = TableFormat.text

  func validate() throws {
    guard heads >= 1, kvHeads >= 1, heads % kvHeads == 0 else {
      throw ValidationError("--heads must be a multiple of --kv-heads, both at least 1.")
    }
    if let queries, !(1...(tokens.min() ?? 1)).contains(queries) {
      throw ValidationError(
        "--queries is \(queries); give a number from 1 to the number of --tokens.")
    }
    guard (1...1000).contains(repeats) else {
      throw ValidationError("--repeats is \(repeats); give a number from 1 to 1000.")
    }
  }

  func run() throws {
    var results: [KernelBenchResult] = []
    let memory = MemoryBandwidth()
    for pass in passes {
      for headDim in headDims {
        for tokens in tokens {
          for isCausal in causal.values {
            for dtype in dtypes {
              for threads in threads {
                let problem = KernelBenchProblem(
                  shape: AttentionShape(
                    batch: 1, queryHeads: heads, kvHeads: kvHeads, headDim: headDim,
                    valueHeadDim: headDim),
                  tokens: tokens, queries: queries ?? tokens, isCausal: isCausal, dtype: dtype,
                  threads: threads, accumulation: reproducible ? .reproducible : .fast)
                results.append(problem.measure(pass, repeats: repeats, memory))
              }
            }
          }
        }
      }
    }
    let report = KernelBenchReport(environment: .current, results: results)
    write(try report.formatted(format) + "\n", to: 1)
  }
}

/// How a table of results is printed.
enum TableFormat: String, CaseIterable, ExpressibleByArgument {
  case text, json, csv, markdown
}

/// What is measured.
enum KernelPass: String, CaseIterable, Encodable {
  case forward, backward
}

/// `--causal both|true|false`.
enum CausalChoice: String, CaseIterable, ExpressibleByArgument {
  case both
  case yes = "true"
  case no = "false"

  var values: [Bool] {
    switch self {
    case .both: [false, true]
    case .yes: [true]
    case .no: [false]
    }
  }
}

/// Parses `64,128`.
private func parseIntegers(_ text: String, in range: ClosedRange<Int>) throws -> [Int] {
  let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
  guard numbers.allSatisfy({ $0.map(range.contains) ?? false }) else {
    throw ValidationError(
      "give whole numbers from \(range.lowerBound) to \(range.upperBound), joined by commas.")
  }
  return numbers.compactMap { $0 }
}

/// Parses `f32,bf16`.
private func parseNames<Name: RawRepresentable & CaseIterable>(
  _ text: String, of type: Name.Type
) throws -> [Name] where Name.RawValue == String {
  let names = text.split(separator: ",", omittingEmptySubsequences: false).map {
    Name(rawValue: String($0))
  }
  guard names.allSatisfy({ $0 != nil }) else {
    let known = Name.allCases.map(\.rawValue).joined(separator: ", ")
    throw ValidationError("give names of \(known), joined by commas.")
  }
  return names.compactMap { $0 }
}
