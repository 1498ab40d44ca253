import Foundation
import TestSupport
import Testing

/// `gyre tokenize` and `gyre inspect`.
@Suite("gyre tokenize and gyre inspect")
struct TokenizeTests {
  private let folder: TemporaryFolder
  private let model: String
  private let fixtures: TokenizerFixtures

  init() throws {
    folder = try TemporaryFolder()
    fixtures = try TokenizerFixtures.all.get()
    var builder = TokenizerFixtures.gguf(ofBytePairs: fixtures.bytePairs[0])
    Self.addLayers(to: &builder, vocabulary: 342)
    model = try folder.file("model.gguf", builder.bytes)
  }

  /// Makes a model of llama's architecture of it: three layers of zeros.
  private static func addLayers(to builder: inout GGUFBuilder, vocabulary: UInt64) {
    let numbers: [(String, UInt32)] = [
      ("block_count", 3), ("embedding_length", 64), ("feed_forward_length", 96),
      ("attention.head_count", 4), ("attention.head_count_kv", 2), ("context_length", 512),
    ]
    builder.values += numbers.map { ("llama.\($0.0)", .uint32($0.1)) }
    builder.values.append(("llama.attention.layer_norm_rms_epsilon", .float(1e-5)))
    func add(_ name: String, _ dimensions: UInt64...) {
      let count = Int(dimensions.reduce(1, *))
      builder.tensors.append(
        .init(
          name + ".weight", dimensions, type: 0, data: Array(repeating: 0, count: 4 * count)))
    }
    add("token_embd", 64, vocabulary)
    add("output_norm", 64)
    for layer in 0..<3 {
      let names: [(String, UInt64, UInt64)] = [
        ("attn_q", 64, 64), ("attn_k", 64, 32), ("attn_v", 64, 32), ("attn_output", 64, 64),
        ("ffn_gate", 64, 96), ("ffn_up", 64, 96), ("ffn_down", 96, 64),
      ]
      for (name, inputs, outputs) in names { add("blk.\(layer).\(name)", inputs, outputs) }
      add("blk.\(layer).attn_norm", 64)
      add("blk.\(layer).ffn_norm", 64)
    }
  }

  private func gyre(_ arguments: [String]) async throws -> CommandResult {
    try await MPIJob.runAlone(program: "gyre", arguments: arguments)
  }

  private func object(_ result: CommandResult) throws -> [String: Any] {
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require(object as? [String: Any], "\(result)")
  }

  @Test("texts become numbers on a line, which become the text again")
  func tokenize() async throws {
    let place = try #require(fixtures.texts.firstIndex { $0.contains("<|end|>") })
    let text = fixtures.texts[place]
    func line(_ key: String) -> String {
      TokenizerFixtures.tokens(fixtures.bytePairs[0], key)[place].map(String.init)
        .joined(separator: ",")
    }
    let plain = try await gyre(["tokenize", model, "--text", text])
    #expect(plain.standardOutput == line("plain") + "\n", "\(plain)")
    let special = try await gyre(["tokenize", model, "--text", text, "--special"])
    #expect(special.standardOutput == line("special") + "\n", "\(special)")
    let back = try await gyre(["tokenize", model, "--decode", line("special")])
    #expect(back.standardOutput == text + "\n", "\(back)")

    let file = try folder.file("text", [0x61, 0xFF])
    let report = try object(
      try await gyre(["tokenize", model, "--file", file, "--report", "json"]))
    #expect(report["count"] as? Int == (report["tokens"] as? [Int])?.count)
    #expect(report["text"] as? String == "a\u{FFFD}")
    #expect((report["pieces"] as? [String])?.first == "a")
  }

  @Test("mistakes are named, and cost nothing")
  func mistakes() async throws {
    let cases: [(arguments: [String], sentence: String, code: Int)] = [
      ([model], "one of --text, --file and --decode", 64),
      ([model, "--text", "a", "--file", "b"], "one of --text, --file and --decode", 64),
      ([model, "--decode", "1", "--special"], "leave them out with --decode", 64),
      ([model, "--decode", "1,342"], "--decode has 342", 64),
      ([model, "--decode", "1,x"], "joined by commas", 64),
      ([model, "--file", folder.path + "/none"], "--file cannot be read", 1),
      ([folder.path + "/none", "--text", "a"], "there is no such file", 1),
    ]
    for (arguments, sentence, code) in cases {
      let result = try await gyre(["tokenize"] + arguments)
      #expect(result.ending == .exited(code), "\(result)")
      #expect(result.standardError.contains(sentence), "\(result)")
    }
  }

  @Test("inspect says what a model is, what ranks need, and what would fit")
  func inspect() async throws {
    let report = try object(
      try await gyre([
        "inspect", model, "--context", "1000", "--ranks", "4", "--tensors", "--report", "json",
      ]))
    #expect(report["architecture"] as? String == "llama")
    #expect(report["format"] as? String == "GGUF 3")
    let sizes = try #require(report["sizes"] as? [String: Any])
    #expect(sizes["layers"] as? Int == 3 && sizes["kvHeads"] as? Int == 2)
    #expect(sizes["trainedLength"] as? Int == 512)
    let tensors = try #require(report["tensors"] as? [[String: Any]])
    let bytes = tensors.compactMap { $0["bytes"] as? Int }.reduce(0, +)
    #expect(bytes == report["weightBytes"] as? Int)
    let memory = try #require(report["memory"] as? [String: Any])
    func number(_ name: String) -> Int { memory[name] as? Int ?? -1 }
    // 250 tokens of a rank in two runs, a page of 256 for each, of three layers and two heads with
    // 16 columns, keys and values.
    #expect(number("cacheBytes") == 2 * 256 * 3 * 2 * 2 * 16 * 4)
    #expect(
      number("ownBytes") == number("cacheBytes") + number("attentionBytes") + number("chunkBytes"))
    #expect(number("hostNeeds") == number("weightBytes") + 4 * number("ownBytes"))
    let tokenizer = try #require(report["tokenizer"] as? [String: Any])
    #expect(tokenizer["tokens"] as? Int == 342)

    // What is said to fit does, and a tenth more does not.
    let longest = number("longestContext")
    func needs(_ context: Int) async throws -> Int {
      let other = try object(
        try await gyre([
          "inspect", model, "--context", "\(context)", "--ranks", "4", "--report", "json",
        ]))
      return (other["memory"] as? [String: Any])?["hostNeeds"] as? Int ?? -1
    }
    #expect(try await needs(longest) <= number("hostBytes"))
    #expect(try await needs(longest + longest / 10) > number("hostBytes"))

    let text = try await gyre(["inspect", model])
    #expect(text.standardOutput.contains("byte pairs, pre-tokenizer gpt-2"), "\(text)")
    #expect(text.standardOutput.contains("the longest context that fits"), "\(text)")
  }

  @Test("inspect describes models that cannot be run, and says why they cannot")
  func unknown() async throws {
    var builder = GGUFBuilder(values: [("general.architecture", .text("jamba"))])
    builder.tensors = [.init("a", [4], type: 0, data: Array(repeating: 0, count: 16))]
    let path = try folder.file("jamba.gguf", builder.bytes)
    let result = try await gyre(["inspect", path])
    #expect(result.ending == .exited(0), "\(result)")
    #expect(result.standardOutput.contains("'jamba', which is not known here"), "\(result)")
    #expect(result.standardOutput.contains("'tokenizer.ggml.model'"), "\(result)")
  }
}
