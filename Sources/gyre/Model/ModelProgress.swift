import Models
import MPI
import Reporting

/// How far a prefill is: percent, time so far and time left, and tokens a second, on a terminal.
struct ModelProgress {
  /// Operations of a unit, since the line counts in integers.
  private static let unit = 1_000_000
  private var line: ProgressLine
  private var rest = 0

  /// Prepares the line.
  ///
  /// - Parameter withLogits: whether those of all tokens are computed.
  init(
    _ model: OpenModel, _ options: RunOptions, tokens: Int, withLogits: Bool,
    isQuiet: Bool = false,
    on world: borrowing Communicator
  ) {
    let decoder = model.decoder
    let logits =
      withLogits ? 2 * decoder.sizes.width * decoder.sizes.vocabulary * tokens / world.size : 0
    let work = decoder.prefillWork(
      tokens: tokens, ranks: world.size, window: options.window.map { $0 + options.sinks })
    line = ProgressLine(
      "prefill of \(grouped(tokens)) tokens",
      total: (work + logits) / Self.unit,
      parts: (tokens, "tokens"),
      on: world.rank == 0 && !isQuiet ? Terminal.openForProgress() : nil)
  }

  /// Counts floating-point operations.
  mutating func advance(by work: Int) {
    rest += work
    line.advance(by: rest / Self.unit)
    rest %= Self.unit
  }

  /// Takes the line away.
  mutating func clear() { line.clear() }
}
