import Foundation
import Models
import Reporting
import Tensors
import Testing

/// Tokens are those of the packages tokenizers and sentencepiece.
@Suite struct TokenizerTests {
  private let fixtures: TokenizerFixtures

  init() throws {
    fixtures = try TokenizerFixtures.all.get()
  }

  @Test("texts are cut into words as Hugging Face's pre-tokenizers cut them")
  func words() throws {
    #expect(fixtures.words.compactMap { $0["pre"]?.string }.count == PreTokenizer.allCases.count)
    for sample in fixtures.words {
      let preTokenizer = try #require(sample["pre"]?.string.flatMap(PreTokenizer.init(ggufName:)))
      let expected = sample["words"]?.array?.map { $0.array?.compactMap(\.string) ?? [] } ?? []
      #expect(expected.count == fixtures.texts.count)
      for (text, words) in zip(fixtures.texts, expected) {
        #expect(
          preTokenizer.words(of: Array(text.utf8)) == words.map { Array($0.utf8) },
          "\(preTokenizer): \(text.debugDescription)")
      }
    }
  }

  private func check(
    _ tokenizer: Tokenizer, _ expected: [[Int]], special: Bool = false, _ name: String
  ) {
    #expect(expected.count == fixtures.texts.count)
    for (text, tokens) in zip(fixtures.texts, expected) {
      #expect(
        tokenizer.encode(text, special: special, addingBeginning: false) == tokens,
        "\(name): \(text.debugDescription)")
    }
  }

  @Test("byte pairs from tokenizer.json and from GGUF are those of tokenizers")
  func bytePairs() throws {
    #expect(fixtures.bytePairs.count == PreTokenizer.allCases.count)
    #expect(PreTokenizer(ggufName: "olmo") == .mpt)
    for value in fixtures.bytePairs {
      let name = value["pre"]?.string ?? ""
      let plain = TokenizerFixtures.tokens(value, "plain")
      let special = TokenizerFixtures.tokens(value, "special")
      let model = try TokenizerFixtures.gguf(ofBytePairs: value).model()
      for tokenizer in [try TokenizerFixtures.json(value), try model.tokenizer()] {
        check(tokenizer, plain, name)
        check(tokenizer, special, special: true, name)
        for (text, tokens) in zip(fixtures.texts, plain) where name == "gpt-2" {
          #expect(tokenizer.decode(tokens).elementsEqual(text.utf8))
        }
      }
    }
  }

  @Test("the longest tokens of a text are those of the package rwkv")
  func longestTokens() throws {
    for isReversed in [false, true] {
      let (file, texts, expected) = try TokenizerFixtures.longestTokens(isReversed: isReversed)
      let tokenizer = try file.model().tokenizer()
      #expect(texts.count == 4 && expected.count == 4 && tokenizer.ends == [0])
      for (text, tokens) in zip(texts, expected) {
        #expect(tokenizer.encode(text) == tokens, "\(text.debugDescription)")
        #expect(tokenizer.decode(tokens).elementsEqual(text.utf8))
      }
      #expect((tokenizer.encode("Z") == [0]) == isReversed)
    }
  }

  @Test("pairs of characters and unigrams from tokenizer.json are those of tokenizers")
  func characters() throws {
    #expect(fixtures.characters.count == 3)
    for value in fixtures.characters {
      let tokenizer = try TokenizerFixtures.json(value)
      let type = value["file"]?["model"]?["type"]?.string ?? ""
      check(
        tokenizer, TokenizerFixtures.tokens(value, "plain"),
        "\(type), prefix \(value["prefix"] == .bool(true))")
    }
  }

  @Test("SentencePiece's pairs and unigrams are its own, with bytes for what no token has")
  func sentencePiece() throws {
    #expect(fixtures.sentencePiece.count == 4)
    for value in fixtures.sentencePiece {
      let tokenizer = try TokenizerFixtures.gguf(ofSentencePiece: value).model().tokenizer()
      let tokens = TokenizerFixtures.tokens(value, "plain")
      let prefixed = value["prefix"] == .bool(true)
      let name = "\(value["model"]?.string ?? ""), prefix \(prefixed)"
      if name.hasPrefix("t5") {
        checkLikelihood(tokenizer, value, tokens, name)
      } else {
        check(tokenizer, tokens, name)
      }
      // After a token that steers a text begins as any does.
      let parts = ["b", "a"].map { tokenizer.encode($0, addingBeginning: false) }
      let end = try #require(tokenizer.vocabulary.token(named: "</s>"))
      let both = tokenizer.encode("b</s>a", special: true, addingBeginning: false)
      #expect(both == parts[0] + [end] + parts[1], "\(name)")
      #expect(tokenizer.decode([end] + parts[1]).elementsEqual("</s>a".utf8), "\(name)")
      for (text, tokens) in zip(fixtures.texts, tokens) where !text.contains("▁") {
        #expect(tokenizer.decode(tokens).elementsEqual(text.utf8), "\(text.debugDescription)")
      }
    }
  }

  /// Unigrams are as likely as SentencePiece's; of ways that are equally likely, as there are of
  /// cutting a run of spaces into two kinds of tokens, rounding alone decides.
  private func checkLikelihood(
    _ tokenizer: Tokenizer, _ value: JSONValue, _ expected: [[Int]], _ name: String
  ) {
    let scores = value["scores"]?.array?.map { $0.double ?? 0 } ?? []
    func sum(_ tokens: [Int]) -> Double { tokens.reduce(0) { $0 + scores[$1] } }
    var equal = 0
    for (text, tokens) in zip(fixtures.texts, expected) {
      let found = tokenizer.encode(text, addingBeginning: false)
      equal += found == tokens ? 1 : 0
      #expect(found.sorted() == tokens.sorted(), "\(name): \(text.debugDescription)")
      #expect(abs(sum(found) - sum(tokens)) < 1e-4, "\(name): \(text.debugDescription)")
    }
    #expect(equal >= expected.count - 1, "\(name)")
  }

  @Test("tokens of the models that have been fetched are those of their own tokenizers")
  func realModels() throws {
    let environment = ProcessInfo.processInfo.environment
    let folder =
      environment["GYRE_MODELS"] ?? (environment["HOME"] ?? "") + "/.cache/gyre/models"
    for value in fixtures.real {
      let path = folder + "/" + (value["name"]?.string ?? "")
      guard FileManager.default.fileExists(atPath: path) else { continue }
      check(
        try ModelFile(path).tokenizer(), TokenizerFixtures.tokens(value, "plain"), path)
    }
  }

  @Test("a word of a hundred thousand bytes takes no time to speak of, and is one")
  func longWord() throws {
    let tokenizer = try TokenizerFixtures.json(fixtures.bytePairs[0])
    let short = tokenizer.encode(String(repeating: "re", count: 8))
    let word = String(repeating: "re", count: 50_000)
    let tokens = tokenizer.encode(word)
    #expect(tokens.count * 16 <= short.count * 100_000 + 16)
    #expect(tokenizer.decode(tokens).elementsEqual(word.utf8))
  }

  @Test("bytes that are no UTF-8 become U+FFFD, as Unicode recommends")
  func brokenText() throws {
    let tokenizer = try TokenizerFixtures.json(fixtures.bytePairs[0])
    let broken: [UInt8] = [0x61, 0xFF, 0xE4, 0xBD, 0x62, 0xF0, 0x9F, 0x98]
    #expect(tokenizer.encode(broken) == tokenizer.encode("a\u{FFFD}\u{FFFD}b\u{FFFD}"))
  }

  @Test("a stream gives characters when all their bytes are there, wherever tokens end")
  func stream() throws {
    let tokenizer = try TokenizerFixtures.json(fixtures.bytePairs[0])
    let text = "é日😀a🇩🇪\u{FFFD}"
    // One token a byte: the vocabulary's first ones.
    var stream = TextStream(tokenizer)
    var seen = ""
    for byte in text.utf8 {
      let token = try #require(
        (0..<tokenizer.count).first { tokenizer.bytes(of: $0).elementsEqual([byte]) })
      let part = stream.append(token)
      #expect(!part.contains("\u{FFFD}") || byte == 0xBD, "a half of a character")
      seen += part
    }
    #expect(seen == text && stream.finish() == "")
    let half = try #require(
      (0..<tokenizer.count).first { tokenizer.bytes(of: $0).elementsEqual([0xE4]) })
    #expect(stream.append(half) == "" && stream.finish() == "\u{FFFD}")
  }
}
