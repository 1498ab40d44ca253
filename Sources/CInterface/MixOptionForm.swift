import Mixers
import Reporting

/// How an option of an operator is written in `gyre_mixing`, and where it goes.
struct MixOptionForm: Sendable {
  /// What is given for it.
  enum Kind: String, Encodable, Sendable { case flag, count, number, word }

  /// What is given for it.
  let kind: Kind
  /// What it means, in a few words.
  let summary: String
  private let set: @Sendable (String, inout MixerOptions) throws(Refusal) -> Void

  /// All that can be given, by name; what is missing is not for shards.
  static let all: [MixerOption: MixOptionForm] = [
    .causal: .flag("tokens meet only those before them", \.isCausal),
    .softplus: .flag("step sizes are ln(1 + e^x) of delta and its bias", \.softplus),
    .normalized: .flag("the inverse is divided by the roots of row sums", \.isNormalized),
    .length: .count("the length that weights are scaled to; None is the tokens", \.length),
    .chunk: .count("tokens that are taken at a time; None is 64", \.chunk, most: 4096),
    .landmarks: .count("means of tokens that stand for all; None is 64", \.landmarks),
    .newton: .count("steps of Newton towards the inverse; None is 20", \.newtonSteps),
    .steps: .count("how many steps ahead is predicted; None is all of W", \.steps),
    .scale: .number("multiplies queries; None is the operator's own", \.scale) { $0 != 0 },
    .temperature: .number("what scores are divided by; None is 1", \.temperature) { $0 > 0 },
    .normalize: .word(
      "what weights are divided by: length, or visible, the root of half the keys seen",
      \.normalization, "length or visible", MixerNormalization.init(rawValue:)),
    .variant: .word(
      "which pairs have a weight of their own: full, simple, local:S or conv:S", \.variant,
      "full, simple, local:S or conv:S", AFTVariant.init),
  ]

  /// Reads what is given: `causal scale=0.5`.
  ///
  /// - Throws: a sentence that names the option.
  static func read(_ text: String, for type: any Mixer.Type) throws -> MixerOptions {
    var options = MixerOptions()
    for word in text.split(separator: " ") {
      let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
      guard let option = MixerOption(rawValue: parts[0]), type.options.contains(option),
        let form = all[option]
      else {
        let known = all.keys.filter(type.options.contains).map(\.rawValue).sorted()
        throw UserError(
          "\(parts[0]) means nothing to \(type.name) of shards; "
            + (known.isEmpty
              ? "leave it out." : "its options are \(known.joined(separator: ", "))."))
      }
      do throws(Refusal) {
        guard parts.count == 2 || form.kind == .flag else { throw Refusal("a value") }
        try form.set(parts.count == 2 ? parts[1] : "1", &options)
      } catch {
        throw UserError("\(word.replacing("=", with: " is ")); give \(error.remedy).")
      }
    }
    return options
  }

  /// A value that an option cannot have.
  private struct Refusal: Error {
    let remedy: String
    init(_ remedy: String) { self.remedy = remedy }
  }

  private init(
    _ kind: Kind, _ summary: String,
    set: @escaping @Sendable (String, inout MixerOptions) throws(Refusal) -> Void
  ) {
    (self.kind, self.summary, self.set) = (kind, summary, set)
  }

  private typealias Place<Value> = any WritableKeyPath<MixerOptions, Value> & Sendable

  private static func flag(_ summary: String, _ place: Place<Bool>) -> MixOptionForm {
    MixOptionForm(.flag, summary) { text, options throws(Refusal) in
      guard ["0", "1"].contains(text) else { throw Refusal("0 or 1") }
      options[keyPath: place] = text == "1"
    }
  }

  private static func count(
    _ summary: String, _ place: Place<Int?>, most: Int = 1 << 40
  ) -> MixOptionForm {
    MixOptionForm(.count, summary) { text, options throws(Refusal) in
      guard let count = Int(text), (1...most).contains(count) else {
        throw Refusal("a whole number from 1 to \(most)")
      }
      options[keyPath: place] = count
    }
  }

  private static func number(
    _ summary: String, _ place: Place<Double?>, _ isGood: @escaping @Sendable (Double) -> Bool
  ) -> MixOptionForm {
    MixOptionForm(.number, summary) { text, options throws(Refusal) in
      guard let number = Double(text), number.isFinite, isGood(number) else {
        throw Refusal("a finite number \(isGood(-1) ? "that is not 0" : "above 0")")
      }
      options[keyPath: place] = number
    }
  }

  private static func word<Value>(
    _ summary: String, _ place: Place<Value>, _ words: String,
    _ value: @escaping @Sendable (String) -> Value?
  ) -> MixOptionForm {
    MixOptionForm(.word, summary) { text, options throws(Refusal) in
      guard let value = value(text) else { throw Refusal(words) }
      options[keyPath: place] = value
    }
  }
}
