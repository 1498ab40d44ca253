import Attention
import Benchmarks
import Glibc
import Jobs
import MPI
import Models
import Reporting
import Results

/// Several schemes and contexts, of the same tokens.
extension PerplexityCommand {
  /// Whether there is more than one thing to be measured.
  var compares: Bool { !schemes.isEmpty || !contexts.isEmpty }

  /// Measures scheme after scheme at each context, and prints one table or one results file.
  func compare(_ ids: [Int], open: OpenModel, on world: borrowing Communicator) throws {
    let contexts = contexts.isEmpty ? [ids.count] : contexts.sorted()
    let counted = stride ?? max(1, contexts[0] / 2)
    let environment = try BenchEnvironment.gather(
      threads: open.team.threads, linkRate: nil, on: world)
    let schemes = try schemes.isEmpty ? [SchemeArgument(parsing: "model")] : schemes
    var rows: [PerplexityRow] = []
    for scheme in schemes {
      let open = open.asked(scheme.applied(to: model))
      for context in contexts {
        rows.append(
          try row(
            scheme, Array(ids.suffix(context)), counting: min(counted, context - 1), open: open,
            on: world))
      }
    }
    let result = BenchReport(rows, in: environment)
    try world.printReport(
      try result.formatted(report == .json ? .json : .text, width: Terminal.outputColumns))
  }

  private func row(
    _ scheme: SchemeArgument, _ ids: [Int], counting counted: Int, open: OpenModel,
    on world: borrowing Communicator
  ) throws -> PerplexityRow {
    let start = ContinuousClock.now
    let (options, memory) = try open.options(tokens: ids.count, context: nil, on: world)
    let prefill = try Prefill(open.decoder, tokens: ids.count, options: options, on: world)
    var progress = ModelProgress(open, options, tokens: ids.count, withLogits: true, on: world)
    let scores = try prefill.scores(ids, on: world) { progress.advance(by: $0) }
    progress.clear()
    let mean = scores.suffix(counted).reduce(0, +) / Double(counted)
    let seconds = (ContinuousClock.now - start).inSeconds
    return PerplexityRow(
      model: model.model.split(separator: "/").last.map(String.init) ?? model.model,
      architecture: open.decoder.architecture, cacheType: model.cacheType.rawValue,
      scheme: scheme.description, context: ids.count, countedTokens: counted, ranks: world.size,
      threads: open.team.threads, nll: mean, perplexity: exp(mean), seconds: seconds,
      prefillTokensPerSecond: Double(ids.count) / seconds, ownBytesNeeded: memory.ownBytes)
  }
}
