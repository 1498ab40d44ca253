import ArgumentParser
import Attention
import Reporting

/// A window and what is seen in spite of it.
struct WindowOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      A query sees the W keys up to its own position with a causal mask, and without one the W − 1 \
      after it too. (default: none)
      """, valueName: "W"))
  var window: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The keys of a window are so far apart, and reach as much further.", valueName: "D"))
  var windowDilation = 1

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The first S keys are seen whatever the window hides. (default: none)", valueName: "S"))
  var sinks: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      These tokens, by their positions among the keys, see all and are seen by all, whatever the \
      window hides. (default: none)
      """, valueName: "0,5,9-12"),
    transform: parseGlobals)
  var globals: GlobalMask?

  func validate() throws {
    if let window, window < 1 {
      throw ValidationError(
        "--window is \(window), and a query sees at least itself; give at least 1, or leave it out "
          + "for no window.")
    }
    guard windowDilation >= 1 else {
      throw ValidationError(
        "--window-dilation is \(windowDilation); give at least 1, which is every key.")
    }
    if let sinks, sinks < 1 {
      throw ValidationError("--sinks is \(sinks); give at least 1, or leave it out for none.")
    }
    guard window == nil else { return }
    let others = [
      ("--window-dilation", windowDilation != 1), ("--sinks", sinks != nil),
      ("--globals", globals != nil),
    ]
    if let (option, _) = others.first(where: \.1) {
      throw ValidationError(
        "\(option) says something about a window, and there is none; give --window with it, or "
          + "leave it out.")
    }
  }

  /// What they come to.
  var masks: [any Mask] {
    guard let window else { return [] }
    let exempting: [(any Mask)?] = [sinks.map { SinkMask(count: $0) }, globals]
    return [WindowMask(width: window, dilation: windowDilation)] + exempting.compactMap { $0 }
  }

  /// Refuses global tokens that are not there.
  func check(keyTokens: Int) throws {
    guard let last = globals?.tokens.last?.last, last >= keyTokens else { return }
    throw UserError.usage(
      "--globals names token \(last), and there are \(keyTokens) keys, from 0 to "
        + "\(keyTokens - 1).")
  }
}

@Sendable
private func parseGlobals(_ text: String) throws -> GlobalMask {
  guard let mask = GlobalMask(text) else {
    throw ValidationError(
      "give positions and ranges of positions, from 0 on, joined by commas, for example 0,5,9-12.")
  }
  return mask
}
