import Foundation
import Models
import Reporting
import Tensors

/// What tokenizers.py wrote: small tokenizers, texts, and what the reference packages make of them.
struct TokenizerFixtures {
  let texts: [String]
  let words: [JSONValue]
  let bytePairs: [JSONValue]
  let characters: [JSONValue]
  let sentencePiece: [JSONValue]
  let real: [JSONValue]

  /// Read once, which takes longer than most tests.
  static let all = Result { try TokenizerFixtures() }

  private init() throws {
    let url = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "tokenizers.json")
    let value = try JSONValue(parsing: Data(contentsOf: url))
    texts = value["texts"]?.array?.compactMap(\.string) ?? []
    words = value["words"]?.array ?? []
    bytePairs = value["bytePairs"]?.array ?? []
    characters = value["characters"]?.array ?? []
    sentencePiece = value["sentencePiece"]?.array ?? []
    real = value["real"]?.array ?? []
  }

  /// The tokens of each text under a key.
  static func tokens(_ value: JSONValue, _ key: String) -> [[Int]] {
    value[key]?.array?.map { $0.array?.compactMap(\.int) ?? [] } ?? []
  }

  /// A tokenizer of listed merges as `tokenizer.json` has it.
  static func json(_ value: JSONValue) throws -> Tokenizer {
    let file = value["file"] ?? .null
    return try Tokenizer(
      json: Array(try jsonLine(file).utf8), config: nil, path: "tokenizer.json")
  }

  /// The same tokenizer as a GGUF file has it.
  static func gguf(ofBytePairs value: JSONValue) -> GGUFBuilder {
    let file = value["file"]
    var tokens: [Int: (text: String, kind: Int32)] = [:]
    for (token, number) in file?["model"]?["vocab"]?.object ?? [:] {
      tokens[number.int ?? 0] = (token, 1)
    }
    for added in file?["added_tokens"]?.array ?? [] {
      tokens[added["id"]?.int ?? 0] = (
        added["content"]?.string ?? "", added["special"]?.bool == true ? 3 : 4
      )
    }
    let ordered = tokens.keys.sorted().compactMap { tokens[$0] }
    let merges = file?["model"]?["merges"]?.array?.map { merge in
      merge.string ?? (merge.array?.compactMap(\.string) ?? []).joined(separator: " ")
    }
    return builder([
      ("model", .text("gpt2")), ("pre", .text(value["pre"]?.string ?? "")),
      ("tokens", .array(8, ordered.map { .text($0.text) })),
      ("token_type", .array(5, ordered.map { .int32($0.kind) })),
      ("merges", .array(8, (merges ?? []).map { .text($0) })),
    ])
  }

  /// A tokenizer of SentencePiece as a GGUF file has it.
  static func gguf(ofSentencePiece value: JSONValue) -> GGUFBuilder {
    builder([
      ("model", .text(value["model"]?.string ?? "")),
      ("tokens", .array(8, value["tokens"]?.array?.map { .text($0.string ?? "") } ?? [])),
      ("scores", .array(6, value["scores"]?.array?.map { .float(Float($0.double ?? 0)) } ?? [])),
      (
        "token_type",
        .array(5, value["kinds"]?.array?.map { .int32(Int32($0.int ?? 0)) } ?? [])
      ),
      ("add_space_prefix", .bool(value["prefix"]?.bool == true ? 1 : 0)),
      ("add_bos_token", .bool(0)), ("unknown_token_id", .uint32(0)),
      ("bos_token_id", .uint32(1)), ("eos_token_id", .uint32(2)),
    ])
  }

  /// A tokenizer of the longest tokens as a GGUF file has it, and what rwkv.py wrote of its texts.
  ///
  /// - Parameter isReversed: whether its tokens, the longest of which come last, are in the opposite
  ///   order, and the byte Z has none.
  static func longestTokens(
    isReversed: Bool
  ) throws -> (file: GGUFBuilder, texts: [String], tokens: [[Int]]) {
    let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "rwkv.json")
    let value = try JSONValue(parsing: Data(contentsOf: url))["words"] ?? .null
    var entries = value["entries"]?.array?.compactMap(\.string) ?? []
    var numbers = tokens(value, "tokens")
    if isReversed {
      numbers = numbers.map { $0.map { entries.count + 1 - $0 } }
      entries = entries.reversed().map { $0 == "Z" ? "No text has this." : $0 }
    }
    let file = builder([
      ("model", .text("rwkv")), ("unknown_token_id", .uint32(0)),
      ("tokens", .array(8, (["<s>"] + entries).map { .text($0) })),
      ("token_type", .array(5, [.int32(3)] + entries.map { _ in .int32(1) })),
      ("eos_token_id", .uint32(0)),
    ])
    return (file, value["texts"]?.array?.compactMap(\.string) ?? [], numbers)
  }

  private static func builder(_ values: [(String, GGUFBuilder.Value)]) -> GGUFBuilder {
    GGUFBuilder(
      values: [("general.architecture", .text("llama"))]
        + values.map { ("tokenizer.ggml.\($0.0)", $0.1) })
  }
}

extension GGUFBuilder.Value {
  static func text(_ text: String) -> GGUFBuilder.Value { .string(Array(text.utf8)) }
}

extension GGUFBuilder {
  /// The model that the file is.
  func model() throws -> ModelFile {
    try ModelFile(GGUFFile(SharedBytes(AlignedBuffer(copying: bytes.span)), path: "model.gguf"))
  }
}
