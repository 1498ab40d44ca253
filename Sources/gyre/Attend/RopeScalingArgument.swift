import ArgumentParser
import Attention
import FoundationEssentials
import Reporting

/// `--rope-scaling yarn:4,8192`.
struct RopeScalingArgument: CustomStringConvertible {
  private let text: String
  private let kind: Kind

  private enum Kind {
    case formula(RotaryScaling)
    case file(String)
  }

  /// Parses a name and its numbers.
  init(parsing text: String) throws {
    self.text = text
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let name = String(parts[0])
    let words = parts.count > 1 ? String(parts[1]) : ""
    if name == "longrope" {
      guard !words.isEmpty else {
        throw ValidationError("longrope has its factors in a file; give longrope:FILE.")
      }
      kind = .file(words)
      return
    }
    let numbers =
      words.isEmpty
      ? []
      : words.split(
        separator: ",", omittingEmptySubsequences: false
      ).map { Double($0) ?? .nan }
    func take(_ form: String, _ isRight: Bool, _ scaling: @autoclosure () -> RotaryScaling) throws
      -> Kind
    {
      guard isRight, numbers.allSatisfy({ $0.isFinite && $0 > 0 }) else {
        throw ValidationError(
          "give \(form), with positive numbers and S at least 1, for example \(Self.example(form))."
        )
      }
      return .formula(scaling())
    }
    let isStretched = (numbers.first ?? 0) >= 1
    switch name {
    case "none":
      kind = try take("none", numbers.isEmpty && parts.count == 1, .none)
    case "linear":
      kind = try take("linear:S", numbers.count == 1 && isStretched, .linear(numbers[0]))
    case "ntk":
      kind = try take("ntk:S", numbers.count == 1 && isStretched, .ntk(numbers[0]))
    case "dynamic-ntk":
      kind = try take(
        "dynamic-ntk:S,L", numbers.count == 2 && isStretched,
        .dynamicNTK(numbers[0], trainedLength: numbers[1]))
    case "yarn":
      kind = try take(
        "yarn:S,L", numbers.count == 2 && isStretched, .yarn(numbers[0], trainedLength: numbers[1]))
    case "llama3":
      kind = try take(
        "llama3:S,LOW,HIGH,L with LOW below HIGH",
        numbers.count == 4 && isStretched && numbers[1] < numbers[2],
        .llama3(numbers[0], low: numbers[1], high: numbers[2], trainedLength: numbers[3]))
    default:
      throw unknownName(
        name, among: ["none", "linear", "ntk", "dynamic-ntk", "yarn", "llama3", "longrope"])
    }
  }

  private static func example(_ form: String) -> String {
    [
      "linear": "linear:4", "ntk": "ntk:4", "dynamic-ntk": "dynamic-ntk:4,8192",
      "yarn": "yarn:4,8192", "llama3": "llama3:8,1,4,8192",
    ][form.prefix { $0 != ":" }.description] ?? "none"
  }

  /// As it was given.
  var description: String { text }

  /// The file that has to be read; nil if there is none.
  var path: String? {
    if case .file(let path) = kind { path } else { nil }
  }

  /// What is done to frequencies.
  ///
  /// - Parameter pairs: of columns that are turned, each of which has a factor in a file.
  func scaling(pairs: Int) throws -> RotaryScaling {
    switch kind {
    case .formula(let scaling): scaling
    case .file(let path): .longRoPE(try LongRoPEFile.read(path, pairs: pairs))
    }
  }
}

/// The factors of a model as Hugging Face's `config.json` has them, whole or its `rope_scaling`
/// alone.
private struct LongRoPEFile: Decodable {
  let shortFactor: [Double]
  let longFactor: [Double]
  let factor: Double?
  let attentionFactor: Double?
  let trainedLength: Double?

  private enum CodingKeys: String, CodingKey {
    case shortFactor = "short_factor"
    case longFactor = "long_factor"
    case factor
    case attentionFactor = "attention_factor"
    case trainedLength = "original_max_position_embeddings"
  }

  private struct Config: Decodable {
    let scaling: LongRoPEFile
    let trainedLength: Double?
    let length: Double?

    private enum CodingKeys: String, CodingKey {
      case scaling = "rope_scaling"
      case trainedLength = "original_max_position_embeddings"
      case length = "max_position_embeddings"
    }
  }

  static func read(_ path: String, pairs: Int) throws -> LongRoPEFactors {
    let data: Data
    do { data = try Data(contentsOf: URL(filePath: path)) } catch {
      throw UserError(
        "'\(path)': the file of --rope-scaling longrope cannot be read; name one that is there.")
    }
    let config = try? JSONDecoder().decode(Config.self, from: data)
    guard let file = config?.scaling ?? (try? JSONDecoder().decode(Self.self, from: data)) else {
      throw UserError(
        "'\(path)': there are no short_factor and long_factor, lists of numbers; give a model's "
          + "config.json, or its rope_scaling.")
    }
    let lists = [file.shortFactor, file.longFactor]
    guard lists.allSatisfy({ $0.count == pairs && $0.allSatisfy { $0 > 0 && $0.isFinite } }) else {
      throw UserError(
        "'\(path)': short_factor has \(file.shortFactor.count) numbers and long_factor "
          + "\(file.longFactor.count), and there are \(pairs) pairs of columns; give a positive "
          + "one for each.")
    }
    guard let trained = file.trainedLength ?? config?.trainedLength, trained > 1,
      let scale = file.factor ?? config?.length.map({ $0 / trained }), scale > 0
    else {
      throw UserError(
        "'\(path)': the trained length and how many times as far positions reach are missing; give "
          + "original_max_position_embeddings, and factor or max_position_embeddings.")
    }
    return LongRoPEFactors(
      short: file.shortFactor, long: file.longFactor, trainedLength: trained, scale: scale,
      magnitude: file.attentionFactor)
  }
}
