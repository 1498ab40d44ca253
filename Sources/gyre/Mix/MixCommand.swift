import ArgumentParser
import Mixers
import Settings
import Sharding
import Tensors

/// `gyre mix`: options and what can be said about them without looking at any file.
struct MixCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mix",
    abstract: "Sequence mixers beside attention, over sharded tokens.",
    usage: """
      mpirun -n P gyre mix OPERATOR INPUT --output OUTPUT [options]
      mpirun -n P gyre mix OPERATOR --random SIZES [options]
      """,
    discussion: """
      INPUT is a .safetensors file with the operator's tensors, in F32, F16 or BF16; OUTPUT gets \
      its outputs in F32. With --gradients INPUT also has do, the gradient of the first output and \
      of its shape, and OUTPUT gets the gradient of each input, under d and the input's name. Each \
      rank reads and writes only its own rows; OUTPUT appears whole or not at all.

      \(MixCommand.operators)
      """)

  @Argument(help: ArgumentHelp("What is computed.", valueName: "operator"))
  var kind: MixerName

  @Argument(
    help: ArgumentHelp("A .safetensors file with the operator's tensors.", valueName: "input"),
    completion: .file(extensions: ["safetensors"]))
  var input: String?

  @Option(
    help: ArgumentHelp(
      "Where the outputs go. Without it the run is only measured.", valueName: "file"),
    completion: .file(extensions: ["safetensors"]))
  var output: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Instead of a file: random tensors of these sizes, the same for every number of ranks. Which \
      sizes an operator has is said above.
      """, valueName: "AxBx…"),
    transform: RandomSizes.init(parsing:))
  var random: RandomSizes?

  @Option(parsing: .unconditional, help: "The seed of --random, and of what --verify samples.")
  var seed: UInt64 = 0

  @Flag(help: "Also the backward pass: from do to the gradients of all inputs.")
  var gradients = false

  @Flag(help: "Tokens meet only those before them; for operators that can do both.")
  var causal = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The length that cosformer's weights are scaled to. (default: the tokens)", valueName: "M"))
  var length: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Multiplies queries. (default: 1/√headDim for deltanet, gla, linformer and relu, 1 for \
      mamba2)
      """, valueName: "x"))
  var scale: Double?

  @Option(
    help: """
      What relu's weights are divided by: length, the tokens; or visible, the root of half the \
      keys that a query sees. (default: length)
      """)
  var normalize: MixerNormalization?

  @Option(
    help: ArgumentHelp(
      """
      Which pairs of tokens have a weight of their own in aft: full, simple (none), local:S (those \
      closer than S) or conv:S (those closer than S, by their distance). (default: full)
      """, valueName: "variant"),
    transform: { text throws in
      guard let variant = AFTVariant(text) else {
        throw ValidationError(
          "give full, simple, local:S or conv:S, with S a whole number of at "
            + "least 1.")
      }
      return variant
    })
  var variant: AFTVariant?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Tokens that deltanet takes at a time, as matrix products, and gla and mamba2 lay side by "
        + "side. (default: 64, and 32)", valueName: "n"))
  var chunk: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Means of tokens that stand for all in soft. (default: 64, or the tokens if they are fewer)",
      valueName: "n"))
  var landmarks: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Steps of Newton towards the inverse that soft needs. (default: 20)", valueName: "n"))
  var newton: Int?

  @Flag(help: "The inverse that soft needs is divided by the roots of its kernel's row sums.")
  var normalized = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("What infonce's scores are divided by. (default: 1)", valueName: "x"))
  var temperature: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "How many steps ahead infonce predicts. (default: as many as W has)", valueName: "n"))
  var steps: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      led takes the matrix w [in, out] and not e and d, which are its best factors of this rank, \
      by singular values, and outputs too.
      """, valueName: "rank"))
  var factorize: Int?

  @Flag(help: "Step sizes of mamba are ln(1 + e^x) of delta and its bias.")
  var softplus = false

  @Option(
    help: """
      Which rank holds which tokens: contiguous, zigzag or striped. Operators that meet tokens in \
      their order have contiguous.
      """)
  var layout = Layout.contiguous

  @OptionGroup var overwriting: OverwriteOptions

  @OptionGroup var threading: ThreadOptions

  @Flag(
    help: "Check sampled heads or channels against an independent computation in double precision.")
  var verify = false

  @Option(
    name: .customLong("warm-ups"), parsing: .unconditional,
    help: ArgumentHelp(
      "How often the passes are computed before those that are measured and reported.",
      valueName: "n"))
  var warmUps = 0

  @Option(help: "What rank 0 prints: a table or one JSON object.")
  var report = ReportFormat.text

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  /// What was asked for, for the operator.
  var options: MixerOptions {
    var options = MixerOptions()
    options.isCausal = causal
    options.length = length
    options.softplus = softplus
    options.scale = scale
    options.normalization = normalize ?? .length
    options.variant = variant ?? .full
    options.chunk = chunk
    options.landmarks = landmarks
    options.newtonSteps = newton
    options.isNormalized = normalized
    options.temperature = temperature
    options.steps = steps
    options.factorize = factorize
    return options
  }

  func validate() throws {
    guard (input == nil) != (random == nil) else {
      throw ValidationError(
        input == nil
          ? "There is no input; name a .safetensors file, or give --random."
          : "Give only one input: there are the input file '\(input ?? "")' and --random.")
    }
    for (name, number) in [
      ("length", length), ("chunk", chunk), ("landmarks", landmarks), ("newton", newton),
      ("steps", steps), ("factorize", factorize),
    ] {
      if let number, number < 1 {
        throw ValidationError("--\(name) is \(number); give at least 1.")
      }
    }
    if let chunk, chunk > 4096 {
      throw ValidationError(
        "--chunk is \(chunk), and the work in a chunk grows with its square; give at most 4096.")
    }
    if let temperature, !temperature.isFinite || temperature <= 0 {
      throw ValidationError("--temperature is \(temperature); give a finite number above 0.")
    }
    if let scale, !scale.isFinite || scale == 0 {
      throw ValidationError("--scale is \(scale); give a finite number that is not 0.")
    }
    guard warmUps >= 0 else {
      throw ValidationError("--warm-ups is \(warmUps); give at least 0.")
    }
    guard layout != .balanced else {
      throw ValidationError(
        "--layout balanced is for masks, where tokens cost more or less; give contiguous, zigzag "
          + "or striped.")
    }
    let given: [(MixerOption, Bool)] = [
      (.causal, causal), (.length, length != nil), (.softplus, softplus),
      (.scale, scale != nil), (.normalize, normalize != nil),
      (.variant, variant != nil), (.chunk, chunk != nil), (.landmarks, landmarks != nil),
      (.newton, newton != nil), (.normalized, normalized), (.temperature, temperature != nil),
      (.steps, steps != nil),
      (.factorize, factorize != nil),
    ]
    for (option, isGiven) in given where isGiven && !kind.type.options.contains(option) {
      throw ValidationError("--\(option.rawValue) means nothing to \(kind); leave it out.")
    }
    try random?.check(for: kind.type)
    if let output { try requireSafetensorsEnding(output) }
  }

  /// A paragraph on each operator.
  private static var operators: String {
    MixerCatalog.all.map { type in
      let tensors = type.demands.map {
        ($0.isOptional ? "optional " : "") + "\($0.name) \($0.shapes)"
      }
      let further = type.furtherRandomDimensions.map { "[x\($0.name)]" }.joined()
      return "\(type.name): \(type.summary). Tensors: \(tensors.joined(separator: ", ")). "
        + "--random \(type.randomDimensions.joined(separator: "x"))\(further)."
    }.joined(separator: "\n\n")
  }
}

extension TensorDemand {
  /// Its shape in words: `[tokens, rank] or [kvHeads, tokens, rank]`.
  var shapes: String {
    [dimensions, otherDimensions].compactMap(\.self)
      .map { "[\($0.joined(separator: ", "))]" }.joined(separator: " or ")
  }
}

/// An operator by its name.
struct MixerName: ExpressibleByArgument, CustomStringConvertible {
  let type: any Mixer.Type

  init?(argument: String) {
    guard let type = MixerCatalog.named(argument) else { return nil }
    self.type = type
  }

  static var allValueStrings: [String] { MixerCatalog.all.map { $0.name } }

  var description: String { type.name }
}

/// The sizes given by `--random 1x4096x8x64`.
struct RandomSizes: Hashable {
  private let text: String
  private let numbers: [Int]

  /// Parses sizes joined by `x`.
  init(parsing text: String) throws {
    let sizes = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    numbers = sizes.compactMap { $0 }
    self.text = text
    guard numbers.count == sizes.count, numbers.allSatisfy({ $0 >= 1 }) else {
      throw ValidationError("give whole numbers of at least 1, joined by x.")
    }
  }

  /// Refuses a number of sizes that an operator does not have.
  func check(for type: any Mixer.Type) throws {
    let (least, further) = (type.randomDimensions, type.furtherRandomDimensions)
    guard (least.count...least.count + further.count).contains(numbers.count) else {
      let names = least.joined(separator: "x") + further.map { "[x\($0.name)]" }.joined()
      throw ValidationError(
        "--random is \(text), and \(type.name) has the sizes \(names); give these.")
    }
  }

  /// The sizes by their names.
  func sizes(for type: any Mixer.Type) -> MixerSizes {
    let names = type.randomDimensions + type.furtherRandomDimensions.map(\.name)
    var sizes = MixerSizes(
      Dictionary(zip(names, numbers), uniquingKeysWith: { first, _ in first }))
    for (name, likewise) in type.furtherRandomDimensions {
      sizes.complete(name, sizes[likewise])
    }
    return sizes
  }
}
