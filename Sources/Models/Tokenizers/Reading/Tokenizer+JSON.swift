import FoundationEssentials
package import Reporting
package import Tensors

extension Tokenizer {
  /// Reads `tokenizer.json` of a folder, and who is who from `tokenizer_config.json`.
  init(_ folder: HuggingFaceFolder) throws(TensorFileError) {
    let path = folder.path + "/tokenizer.json"
    let file = try ReadableFile(path: path)
    let bytes = try file.read(at: 0, count: file.byteCount)
    var config: JSONValue?
    let configPath = folder.path + "/tokenizer_config.json"
    if FileManager.default.fileExists(atPath: configPath) {
      config = try HuggingFaceFolder.json(configPath)
    }
    try self.init(json: bytes, config: config, path: path)
  }

  /// Reads the bytes of a `tokenizer.json`.
  package init(json bytes: [UInt8], config: JSONValue?, path: String) throws(TensorFileError) {
    let json: TokenizerJSON
    do throws(HeaderTextError) {
      json = try TokenizerJSON(bytes)
    } catch {
      throw TensorFileError(
        .malformed, path: path, "it has \(error.problem), at byte \(error.offset)",
        remedy: "download or save the model again")
    }
    let config = config?.object ?? [:]
    var maker = JSONTokenizerMaker(json: json, config: config, path: path)
    self = try maker.make()
  }
}

/// Makes a tokenizer of what `tokenizer.json` says.
private struct JSONTokenizerMaker {
  private let json: TokenizerJSON
  private let config: [String: JSONValue]
  private var parts: TokenizerParts
  /// For each token its score; empty if there are none.
  private var scores: [Double] = []

  init(json: TokenizerJSON, config: [String: JSONValue], path: String) {
    self.json = json
    self.config = config
    parts = TokenizerParts(path: path)
  }

  mutating func make() throws(TensorFileError) -> Tokenizer {
    let steps = try normalizerSteps()
    let isByteLevel = Self.types(json.settings["pre_tokenizer"]).contains("ByteLevel")
    try readTokens(isByteLevel: isByteLevel)
    try readRoles()
    switch json.type {
    case "BPE" where isByteLevel, "" where isByteLevel: return try byteLevel(steps)
    case "BPE", "": return try characters(steps)
    case "Unigram": return try unigrams(steps)
    default: throw parts.unsupported("is of type \(quoted(json.type))", known: "BPE or Unigram")
    }
  }

  /// The types of a step, or of those of a sequence.
  private static func types(_ value: JSONValue?) -> [String] {
    steps(value).compactMap { $0["type"]?.string }
  }

  private static func steps(_ value: JSONValue?) -> [JSONValue] {
    guard let value, value != .null else { return [] }
    return (value["pretokenizers"] ?? value["normalizers"])?.array ?? [value]
  }

  /// What is done to a text first.
  private struct NormalizerSteps {
    var composes = false
    var prefixes = false
  }

  private func normalizerSteps() throws(TensorFileError) -> NormalizerSteps {
    var result = NormalizerSteps()
    for step in Self.steps(json.settings["normalizer"]) {
      let type = step["type"]?.string ?? ""
      switch type {
      case "NFC": result.composes = true
      case "Prepend" where step["prepend"] == .string("▁"): result.prefixes = true
      case "Replace"
      where step["pattern"]?["String"] == .string(" ") && step["content"] == .string("▁"):
        break
      default:
        throw parts.unsupported(
          "normalizes texts by \(quoted(type))", known: "the steps NFC, Prepend ▁ and Replace by ▁")
      }
    }
    for step in Self.steps(json.settings["pre_tokenizer"])
    where step["type"] == .string("Metaspace") {
      let scheme = step["prepend_scheme"]?.string
      result.prefixes =
        scheme.map { $0 != "never" } ?? step["add_prefix_space"]?.bool ?? true
    }
    return result
  }

  private mutating func readTokens(isByteLevel: Bool) throws(TensorFileError) {
    var found: [(token: [UInt8], kind: Vocabulary.Kind, score: Double)?] = []
    func put(
      _ number: Int, _ token: [UInt8], _ kind: Vocabulary.Kind, _ score: Double
    ) -> Bool {
      guard number < 1 << 24 else { return false }
      while found.count <= number { found.append(nil) }
      found[number] = (token, kind, score)
      return true
    }
    let hasBytes = !isByteLevel && json.options["byte_fallback"] == .bool(true)
    for (index, (token, number)) in json.vocabulary.enumerated() {
      let isByte = hasBytes && token.count == 6 && token.starts(with: Array("<0x".utf8))
      guard
        put(number, token, isByte ? .byte : .normal, json.scores.isEmpty ? 0 : json.scores[index])
      else { throw parts.malformed("has a token with the number \(number)") }
    }
    for token in json.settings["added_tokens"]?.array ?? [] {
      guard let number = token["id"]?.int, number >= 0, let content = token["content"]?.string,
        put(
          number, Array(content.utf8), token["special"] == .bool(true) ? .control : .userDefined, 0)
      else { throw parts.malformed("has an added token without a content and an id") }
    }
    for token in found {
      parts.tokens.append(token?.token ?? [])
      parts.kinds.append(token?.kind ?? .unused)
      scores.append(token?.score ?? 0)
    }
    guard parts.tokens.count > 0 else { throw parts.malformed("has no tokens") }
  }

  private mutating func readRoles() throws(TensorFileError) {
    let names = ByteStringMap(parts.tokens)
    func token(_ name: String) -> Int? {
      let value = config[name]
      guard let text = value?.string ?? value?["content"]?.string else { return nil }
      return names.number(Array(text.utf8)[...])
    }
    parts.roles.beginning = token("bos_token")
    parts.roles.end = token("eos_token")
    parts.roles.chatTemplate = config["chat_template"]?.string
    // The beginning is added where the template of single texts begins with it.
    let processors = json.settings["post_processor"].map { $0["processors"]?.array ?? [$0] } ?? []
    for processor in processors {
      guard let first = processor["single"]?.array?.first,
        let name = first["SpecialToken"]?["id"]?.string
      else { continue }
      parts.roles.beginning = names.number(Array(name.utf8)[...]) ?? parts.roles.beginning
      parts.roles.addsBeginning = true
    }
    if let adds = config["add_bos_token"]?.bool { parts.roles.addsBeginning = adds }
    try parts.checkRoles()
  }

  private func byteLevel(_ steps: NormalizerSteps) throws(TensorFileError) -> Tokenizer {
    guard let preTokenizer = PreTokenizer(json.settings["pre_tokenizer"]) else {
      throw parts.unsupported(
        "has a pre-tokenizer",
        known: "that of \(PreTokenizer.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    let vocabulary = parts.byteLevelVocabulary()
    var merges: [(left: [UInt8], right: [UInt8])] = []
    for merge in json.merges {
      guard let left = ByteAlphabet.decode(merge.left[...]),
        let right = ByteAlphabet.decode(merge.right[...])
      else { throw parts.malformed("has a merge with characters that stand for no bytes") }
      merges.append((left, right))
    }
    return Tokenizer(
      vocabulary: vocabulary,
      encoder: ByteLevelEncoder(
        vocabulary: vocabulary, merges: try parts.mergeTable(merges, vocabulary),
        preTokenizer: preTokenizer, normalizes: steps.composes,
        takesWholeWords: json.options["ignore_merges"] == .bool(true),
        firstTokens: try parts.firstTokens(vocabulary)),
      special: parts.special(vocabulary), spaces: .kept,
      kind: "byte pairs, pre-tokenizer \(preTokenizer.rawValue)", roles: parts.roles)
  }

  private func unknown(_ vocabulary: Vocabulary) -> UnknownBytes {
    let token = json.options["unk_token"]?.string.flatMap { vocabulary.token(named: $0) }
    let number = json.options["unk_id"]?.int.flatMap {
      (0..<vocabulary.count).contains($0) ? $0 : nil
    }
    return UnknownBytes(
      bytes: vocabulary.bytes, unknown: token ?? number,
      isFused: json.type == "Unigram" || json.options["fuse_unk"] == .bool(true))
  }

  private func characters(_ steps: NormalizerSteps) throws(TensorFileError) -> Tokenizer {
    let vocabulary = try parts.markedVocabulary()
    let merges = json.merges.map { (Tokenizer.unmarked($0.left), Tokenizer.unmarked($0.right)) }
    return Tokenizer(
      vocabulary: vocabulary,
      encoder: CharacterEncoder(
        vocabulary: vocabulary,
        rule: ListedMerges(merges: try parts.mergeTable(merges, vocabulary)),
        unknown: unknown(vocabulary)),
      special: parts.special(vocabulary), spaces: .marked(isPrefixed: steps.prefixes),
      kind: "pairs of characters", roles: parts.roles)
  }

  private func unigrams(_ steps: NormalizerSteps) throws(TensorFileError) -> Tokenizer {
    guard json.scores.allSatisfy(\.isFinite) else {
      throw parts.malformed("has a score that is no finite number")
    }
    let vocabulary = try parts.markedVocabulary()
    return Tokenizer(
      vocabulary: vocabulary,
      encoder: UnigramEncoder(
        vocabulary: vocabulary, scores: scores, unknown: unknown(vocabulary)),
      special: parts.special(vocabulary), spaces: .marked(isPrefixed: steps.prefixes),
      kind: "unigrams", roles: parts.roles)
  }
}

extension PreTokenizer {
  /// The expression of o200k.
  private static var cased: String {
    let (before, ending) = (#"[^\r\n\p{L}\p{N}]?"#, "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|")
    let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
    let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
    return before + upper + "*" + lower + "+" + ending + before + upper + "+" + lower + "*" + ending
      + #"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// Recognises the pre-tokenizer of a `tokenizer.json`; nil if it is none of these.
  fileprivate init?(_ value: JSONValue?) {
    let steps = value?["pretokenizers"]?.array ?? value.map { [$0] } ?? []
    let code: (String) -> String = {
      #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + $0
        + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    }
    // The expressions match all characters: what they do not match may as well be removed.
    func isolates(_ step: JSONValue) -> Bool {
      step["invert"] == .bool(true)
        ? step["behavior"] == .string("Removed") : step["behavior"] == .string("Isolated")
    }
    let types = steps.map { $0["type"]?.string ?? "" }
    guard steps.last?["add_prefix_space"] != .bool(true) else { return nil }
    switch types {
    case ["ByteLevel"] where steps[0]["use_regex"] != .bool(false): self = .gpt2
    case ["Digits", "ByteLevel"]
    where steps[0]["individual_digits"] == .bool(true) && steps[1]["use_regex"] != .bool(false):
      self = .smollm
    case ["Split", "ByteLevel"]
    where isolates(steps[0]) && steps[1]["use_regex"] == .bool(false):
      let expression = steps[0]["pattern"]?["Regex"]?.string
      if expression == code(#"\p{N}"#) {
        self = .qwen2
      } else if expression == code(#"\p{N}{1,3}"#) {
        self = .llama3
      } else if expression == Self.cased {
        self = .o200k
      } else {
        return nil
      }
    default: return nil
    }
  }
}
