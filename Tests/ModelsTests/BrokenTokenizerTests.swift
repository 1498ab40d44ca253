import Models
import Reporting
import Tensors
import Testing

/// Tokenizers that do not fit are refused in a sentence.
@Suite struct BrokenTokenizerTests {
  private typealias Change = @Sendable (inout GGUFBuilder) -> Void

  private static func set(_ name: String, _ value: GGUFBuilder.Value) -> Change {
    {
      $0.values.removeAll { $0.name == "tokenizer.ggml.\(name)" }
      $0.values.append(("tokenizer.ggml.\(name)", value))
    }
  }

  private static let wrong: [(sentence: String, change: Change)] = [
    ("of kind 'bert', which is not known here", set("model", .text("bert"))),
    ("the pre-tokenizer 'deepseek-coder'", set("pre", .text("deepseek-coder"))),
    ("has no list of tokens", set("tokens", .array(8, []))),
    ("kinds of 1", set("token_type", .array(5, [.int32(1)]))),
    ("no list of merges", set("merges", .uint32(7))),
    ("has 'ab' for a merge", set("merges", .array(8, [.text("ab")]))),
    ("which with both together are no tokens", set("merges", .array(8, [.text("q q")]))),
    ("'tokenizer.ggml.bos_token_id' is 100000 instead", set("bos_token_id", .uint32(100_000))),
    ("'tokenizer.ggml.model' is 3 instead of a text", set("model", .uint32(3))),
    (
      "rows for 2 tokens, but the tokenizer has",
      {
        $0.tensors = [.init("token_embd.weight", [1, 2], type: 0, data: [0, 0, 0, 0, 0, 0, 0, 0])]
      }
    ),
  ]

  @Test("of GGUF files", arguments: wrong.indices)
  func gguf(_ index: Int) throws {
    var builder = TokenizerFixtures.gguf(ofBytePairs: try TokenizerFixtures.all.get().bytePairs[0])
    let (sentence, change) = Self.wrong[index]
    change(&builder)
    let model = try builder.model()
    let error = try #require(throws: TensorFileError.self) { try model.tokenizer() }
    #expect("\(error)".contains(sentence), "\(error)")
  }

  @Test("of GGUF files with scores")
  func scores() throws {
    let value = try TokenizerFixtures.all.get().sentencePiece[0]
    let changes: [(String, Change)] = [
      ("has no score for each token", Self.set("scores", .array(6, [.float(1)]))),
      (
        "kind 9, which the format",
        { builder in
          let count = value["kinds"]?.array?.count ?? 0
          Self.set("token_type", .array(5, Array(repeating: .int32(9), count: count)))(&builder)
        }
      ),
      ("a table of its own", Self.set("precompiled_charsmap", .array(0, [.uint8(1)]))),
    ]
    for (sentence, change) in changes {
      var builder = TokenizerFixtures.gguf(ofSentencePiece: value)
      change(&builder)
      let error = try #require(throws: TensorFileError.self) { try builder.model().tokenizer() }
      #expect("\(error)".contains(sentence), "\(error)")
    }
  }

  @Test("of tokenizer.json")
  func json() throws {
    let wrong: [(text: String, sentence: String)] = [
      ("", "the end of the text"), ("{\"model\": 1}", "where '{' to begin the model"),
      ("{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}}}", "type 'WordPiece'"),
      ("{\"model\": {\"type\": \"BPE\", \"vocab\": {}}}", "has no tokens"),
      ("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 99999999}}}", "the number 99999999"),
      ("{\"normalizer\": {\"type\": \"BertNormalizer\"}, \"model\": {}}", "by 'BertNormalizer'"),
      (
        "{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\","
          + " \"pattern\": {\"Regex\": \"x\"}}, {\"type\": \"ByteLevel\"}]},"
          + " \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}}", "has a pre-tokenizer"
      ),
      ("{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\"]]}}", "a token without one score"),
      ("{\"model\": {\"merges\": [\"ab\"]}}", "a merge that is no two tokens"),
      ("{\"added_tokens\": [{\"id\": -1}], \"model\": {}}", "an added token without"),
    ]
    for (text, sentence) in wrong {
      let error = try #require(throws: TensorFileError.self) {
        try Tokenizer(json: Array(text.utf8), config: nil, path: "tokenizer.json")
      }
      #expect("\(error)".contains(sentence), "\(error)")
    }
  }
}
