import ArgumentParser
import Benchmarks
import Mixers

/// An operator with what it is asked for: `mamba+softplus`, `cosformer+causal`.
struct MixerChoice: Hashable, CustomStringConvertible {
  let name: String
  let flags: [String]

  var description: String { ([name] + flags).joined(separator: "+") }

  /// What stands after a plus.
  private static let known: [MixerOption] = [.causal, .softplus]

  init(parsing text: String) throws {
    var words = text.split(separator: "+", omittingEmptySubsequences: false).map(String.init)
    name = words.removeFirst()
    flags = words
    guard let type = MixerCatalog.named(name) else {
      throw unknownName(name, among: MixerCatalog.all.map { $0.name })
    }
    for flag in flags {
      guard let option = Self.known.first(where: { $0.rawValue == flag }) else {
        throw unknownName(flag, among: Self.known.map(\.rawValue))
      }
      guard type.options.contains(option) else {
        throw ValidationError("+\(flag) means nothing to \(name); leave it out.")
      }
    }
  }

  /// Parses `sima,mamba+softplus`.
  @Sendable
  static func list(parsing text: String) throws -> [MixerChoice] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map {
      try MixerChoice(parsing: String($0))
    }
  }

  /// What was asked for.
  var options: MixerOptions {
    var options = MixerOptions()
    options.isCausal = flags.contains(MixerOption.causal.rawValue)
    options.softplus = flags.contains(MixerOption.softplus.rawValue)
    return options
  }

  /// Over sequences of any length.
  func mixing(_ sizes: MixerSizeList, threads: Int) throws -> MixerCase {
    guard let type = MixerCatalog.named(name) else {
      throw unknownName(name, among: MixerCatalog.all.map { $0.name })
    }
    return try MixerCase(type, sizes.all, options: options, threads: threads)
  }
}

/// `--sizes heads=8,headDim=128`: how many there are of each dimension but tokens.
struct MixerSizeList: Hashable {
  /// Where nothing else is said.
  static let usual = [
    "batch": 1, "heads": 4, "headDim": 64, "channels": 256, "state": 16, "rank": 64, "in": 256,
    "out": 256, "sequences": 1, "dim": 64, "steps": 4,
  ]

  let given: [String: Int]

  init() { given = [:] }

  /// Parses `heads=8,headDim=128`.
  init(parsing text: String) throws {
    var sizes: [String: Int] = [:]
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let words = part.split(separator: "=", omittingEmptySubsequences: false)
      let number = words.count == 2 ? Int(words[1]) : nil
      guard words.count == 2, let number, (1...1 << 24).contains(number), words[0] != "tokens"
      else {
        throw ValidationError(
          "give names of dimensions and whole numbers, as heads=8,headDim=128; --tokens says how "
            + "many tokens there are.")
      }
      let name = String(words[0])
      let known = Self.names
      guard known.contains(name) else { throw unknownName(name, among: known) }
      sizes[name] = number
    }
    given = sizes
  }

  /// Those of any operator.
  private static var names: [String] {
    Set(
      MixerCatalog.all.flatMap { $0.randomDimensions + $0.furtherRandomDimensions.map(\.name) }
    ).subtracting(["tokens"]).sorted()
  }

  var all: [String: Int] { Self.usual.merging(given) { $1 } }
}

/// `--sizes`, for every command that measures or predicts operators.
struct MixerSizeOptions: ParsableArguments {
  @Option(
    name: .customLong("sizes"),
    help: ArgumentHelp(
      """
      How many there are of the dimensions of an operator, as gyre mix --help names them. \
      (default: batch=1,heads=4,headDim=64,channels=256,state=16,rank=64,in=256,out=256,…)
      """, valueName: "name=n,…"),
    transform: { try MixerSizeList(parsing: $0) })
  var sizes = MixerSizeList()
}
