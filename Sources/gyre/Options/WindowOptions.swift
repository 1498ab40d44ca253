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
      window hides. If the input has q_global, k_global and v_global, their rows are computed with \
      these. (default: none)
      """, valueName: "0,5,9-12"),
    transform: parseGlobals)
  var globals: GlobalMask?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      ETC: long tokens see those within R and the --globals, which see all. Scores get terms of \
      labels by etc_k [2, queryHeads, labels, headDim] and etc_bias [2, queryHeads, labels] of the \
      input. (default: none)
      """, valueName: "R"))
  var etcRadius: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Tokens that are m apart or more have one label on either side. (default: 12)",
      valueName: "m"))
  var etcDistance: Int?

  func validate() throws {
    try validateLabels()
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
    guard window == nil, etcRadius == nil else { return }
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

  private func validateLabels() throws {
    guard let etcRadius else {
      guard etcDistance == nil else {
        throw ValidationError(
          "--etc-distance is of the labels of --etc-radius; give that with it, or leave it out.")
      }
      return
    }
    guard etcRadius >= 0 else {
      throw ValidationError("--etc-radius is \(etcRadius); give at least 0.")
    }
    if let etcDistance, !(1...4096).contains(etcDistance) {
      throw ValidationError("--etc-distance is \(etcDistance); give a number from 1 to 4096.")
    }
    let others = [
      ("--window", window != nil), ("--window-dilation", windowDilation != 1),
      ("--sinks", sinks != nil),
    ]
    if let (option, _) = others.first(where: \.1) {
      throw ValidationError(
        "\(option) and --etc-radius both say how far tokens see; leave one of them out.")
    }
  }

  /// Refuses labels, which scores get by tables of an input.
  func requireNoLabels() throws {
    guard etcRadius == nil else {
      throw ValidationError(
        "--etc-radius needs tables of an input, and there is none here; leave it out. A window of "
          + "one more hides the same.")
    }
  }

  /// What they come to.
  var masks: [any Mask] {
    if let etcRadius {
      let globals = globals ?? GlobalMask(tokens: [])
      return [EtcMask(radius: etcRadius, globals: globals)]
    }
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
