public import ArgumentParser
public import Attention
import AttentionReference
import Reporting
import SequenceParallel

/// What turns queries and keys by their positions, for the kernels and for the oracle.
struct PositionOptions: ParsableArguments {
  @Option(
    help: """
      Rotary positions: turn pairs of columns of q and k, column k with k + D/2 (half, as Llama \
      and most others) or neighbours (interleaved). Gradients are those of the tensors as they are \
      in the input. (default: none)
      """)
  var rope: RotaryPositions.Pairing?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The base of frequencies. (default: 10000)", valueName: "x"))
  var ropeTheta: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "How many columns of a head are turned, the first ones. (default: all)", valueName: "n"))
  var ropeDim: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      How positions reach further than a model was trained for: linear:S, ntk:S, dynamic-ntk:S,L, \
      yarn:S,L, llama3:S,LOW,HIGH,L or longrope:FILE, with S times the trained length L. (default: \
      none)
      """, valueName: "name:…"),
    transform: RopeScalingArgument.init(parsing:))
  var ropeScaling: RopeScalingArgument?

  @Flag(
    help: """
      xPos: rotary positions, interleaved unless --rope says half, and pairs of columns that count \
      less the further query and key are apart. With --causal.
      """)
  var xpos = false

  @Flag(
    name: .customLong("position-ids"),
    help: """
      Tokens stand where position_ids [batch, tokens] of the input says, I32 or I64, and \
      key_position_ids [batch, keyTokens] for keys, if those are not as many. For --rope and \
      --alibi; masks go by the order of tokens always.
      """)
  var positionIds = false

  @Option(
    help: """
      Where sinks stand for --rope and --alibi, under --window W and --sinks S. original: where \
      they are in the sequence. cache: next to the window, as in a cache of S sinks and W keys \
      (StreamingLLM): the query at t stands at min(t, S + W − 1) for them.
      """)
  var sinkPositions = SinkPositions.original

  /// Which columns are pairs; nil if nothing is turned.
  var pairing: RotaryPositions.Pairing? { rope ?? (xpos ? .interleaved : nil) }

  func validate() throws {
    guard pairing == nil else {
      if let ropeTheta, !(ropeTheta > 1 && ropeTheta.isFinite) {
        throw ValidationError("--rope-theta is \(ropeTheta); give a number above 1.")
      }
      if let ropeDim, ropeDim < 2 || ropeDim % 2 != 0 {
        throw ValidationError(
          "--rope-dim is \(ropeDim), and columns are turned in pairs; give an even number from 2.")
      }
      return
    }
    let others = [
      ("--rope-theta", ropeTheta != nil), ("--rope-dim", ropeDim != nil),
      ("--rope-scaling", ropeScaling != nil),
    ]
    if let (option, _) = others.first(where: \.1) {
      throw ValidationError(
        "\(option) says something about rotary positions, and there are none; give --rope half or "
          + "--rope interleaved with it, or leave it out.")
    }
  }

  /// Refuses what benchmarks and predictions have no input for, or do not measure.
  ///
  /// - Parameter headDims: of their problems.
  func requireRotationsAlone(headDims: [Int]) throws {
    if xpos {
      throw ValidationError(
        "--xpos meets keys group by group, each a pass of its own; here it is not known how long "
          + "that takes. Leave it out.")
    }
    if positionIds {
      throw ValidationError(
        "--position-ids are a tensor of an input, and there is none here; leave it out.")
    }
    if sinkPositions == .cache {
      throw ValidationError(
        "--sink-positions cache computes sinks apart from other keys, which is not done here; "
          + "leave it out.")
    }
    try requirePairs(headDims: headDims)
  }

  /// Refuses head dims that are no pairs of columns.
  func requirePairs(headDims: [Int]) throws {
    guard pairing != nil else { return }
    for headDim in headDims {
      let columns = ropeDim ?? headDim
      guard columns <= headDim, columns % 2 == 0 else {
        throw ValidationError(
          "--rope turns \(columns) of \(headDim) columns, and it turns pairs of those that there "
            + "are; give --rope-dim with an even number of them.")
      }
    }
  }

  /// Refuses sinks that cannot stand next to a window.
  func checkSinkPositions(
    _ window: WindowOptions, _ choice: PatternChoice, _ rule: ScoreRuleOptions
  ) throws {
    guard sinkPositions == .cache else { return }
    guard window.sinks != nil, choice.isCausal else {
      throw ValidationError(
        "--sink-positions cache is of a cache of sinks and a window; give --causal, --window and "
          + "--sinks with it, or leave it out.")
    }
    guard window.windowDilation == 1, window.globals == nil else {
      throw ValidationError(
        "--sink-positions cache is for a window without gaps and other keys: such a cache holds "
          + "the last keys and the sinks; leave --window-dilation and --globals out.")
    }
    guard pairing != nil || rule.alibi else {
      throw ValidationError(
        "--sink-positions says where sinks stand, and nothing asks; give --rope or --alibi with "
          + "it, or leave it out.")
    }
  }

  /// The positions of a problem; nil if rows stay as they are.
  ///
  /// - Throws: where they do not fit its heads, or the file of factors cannot be read.
  func positions(headDim: Int, keyTokens: Int) throws -> RotaryPositions? {
    guard let pairing else { return nil }
    let columns = ropeDim ?? headDim
    guard columns <= headDim else {
      throw UserError.usage(
        "--rope-dim is \(columns), and a head has \(headDim) columns; give at most so many.")
    }
    guard columns % 2 == 0 else {
      throw UserError.usage(
        "\(rope == nil ? "--xpos" : "--rope") turns pairs of columns, and "
          + "the head dim is \(headDim); give --rope-dim with an "
          + "even number of them.")
    }
    return RotaryPositions(
      pairing, columns: columns, base: ropeTheta ?? 10_000,
      scaling: try ropeScaling?.scaling(pairs: columns / 2) ?? .none, tokens: keyTokens)
  }
}

extension PositionOptions {
  /// What decays, of the columns that are turned; nil if nothing does.
  func decay(headDim: Int) -> XPosDecay? {
    guard xpos, let pairing else { return nil }
    return XPosDecay(pairing, columns: ropeDim ?? headDim)
  }
}

extension RotaryPositions.Pairing: ExpressibleByArgument {}

/// `--sink-positions`.
enum SinkPositions: String, CaseIterable, ExpressibleByArgument {
  case original, cache
}

extension RotaryPositions {
  /// The twin, which shares no code with what turns rows; that frequencies are right is a matter of
  /// published tables.
  func reference(
    at positions: ReferenceTokenPositions, sinks: CachedSinks?, decay: ReferenceDecay?
  ) -> ReferencePositions {
    ReferencePositions(
      ReferenceRotation(
        frequencies: frequencies, magnitude: magnitude, isInterleaved: pairing == .interleaved),
      at: positions, sinks: sinks.map { ($0.count, $0.reference.query) }, decay: decay)
  }
}
