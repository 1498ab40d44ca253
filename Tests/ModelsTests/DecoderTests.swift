import Foundation
import TestSupport
import Tensors
import Testing

/// Small random models, computed by `gyre` on ranks and by the oracle.
@Suite("gyre logits, perplexity and generate")
struct DecoderTests {
  /// All that architectures and forms of weights can differ in, each in some case.
  static let models: [TinyModel] = [
    TinyModel(),
    TinyModel(architecture: "llama", heads: 4, kvHeads: 4, type: 3, isTied: false),
    TinyModel(architecture: "qwen2", type: 8), TinyModel(architecture: "qwen3", type: 1),
    TinyModel(architecture: "gemma3", layers: 7),
    TinyModel(architecture: "gpt2", width: 96, kvHeads: 6),
    TinyModel(architecture: "gpt-oss", type: 1, expertType: 39),
    TinyModel(architecture: "qwen3moe", expertType: 8),
  ]

  private static let tokens = (0..<41).map { ($0 * 37 + $0 * $0 * 11) % TinyModel.vocabulary }

  @Test("logits are those of the oracle, whatever the ranks", arguments: models.indices)
  func logits(_ index: Int) async throws {
    let model = Self.models[index]
    let folder = try TemporaryFolder()
    let path = try model.write(to: folder)
    let expected = try PlainDecoder(model, path: path).logits(Self.tokens)
    let largest = expected.flatMap { $0 }.map(abs).reduce(0, max)
    let ids = Self.tokens.map(String.init).joined(separator: ",")
    // Several chunks a rank, of many rows and of few.
    for (ranks, chunk) in [(1, "512"), (3, "7"), (5, "20")][..<(index < 2 ? 3 : 2)] {
      let output = "\(folder.path)/logits-\(ranks).safetensors"
      // One rank alone takes its queries in chunks too; of several those of the second case.
      let result = try await gyre(
        ["logits", path, "--ids", ids, "--chunk", chunk, "--output", output]
          + (ranks == 3 ? ["--chunk-queries", "--transport", "ring"] : []), ranks: ranks)
      try #require(result.isSuccess, "\(result)")
      let logits = try SafetensorsFile.open(output).source("logits").readAll()
      var error = 0.0
      for (token, row) in expected.enumerated() {
        for (column, value) in row.enumerated() {
          error = max(error, abs(value - Double(logits[token, column])))
        }
      }
      #expect(error < 2e-5 * largest, "\(model.architecture) on \(ranks) ranks: \(error / largest)")
    }
  }

  @Test("perplexity is that of the oracle, by position and in contexts")
  func perplexity() async throws {
    let model = TinyModel(architecture: "qwen2")
    let folder = try TemporaryFolder()
    let path = try model.write(to: folder)
    let text = Array("A text of some length, which nobody has learned to foretell. ".utf8)
    let file = try folder.file("text.txt", Array((text + text + text).prefix(150)))
    let tokens = (text + text + text).prefix(150).map(Int.init)
    let oracle = try PlainDecoder(model, path: path)
    func scores(_ tokens: [Int], from first: Int) throws -> [Double] {
      let logits = try oracle.logits(tokens)
      return (first..<tokens.count).map { position in
        let row = logits[position - 1]
        return log(row.reduce(0) { $0 + exp($1) }) - row[tokens[position]]
      }
    }
    let whole = try scores(tokens, from: 1)
    let mean = whole.reduce(0, +) / Double(whole.count)
    for ranks in [1, 2, 7] {
      let report = try json(
        try await gyre(
          [
            "perplexity", path, "--text", file, "--report", "json", "--chunk", "16", "--transport",
            "ring",
          ], ranks: ranks))
      #expect(abs((report["nll"] as? Double ?? 0) - mean) < 1e-5)
      #expect(abs((report["perplexity"] as? Double ?? 0) / exp(mean) - 1) < 1e-5)
      // In each of three layers keys and values of 2 heads of 16 numbers go round once, but those
      // of the last piece of the zigzag, which no other rank's queries see.
      let travelling = 150 * (2 * ranks - 1) / (2 * ranks)
      #expect(report["bytesSent"] as? Int == (ranks - 1) * travelling * 3 * 2 * 2 * 16 * 4)
      let buckets = try #require(report["byPosition"] as? [[String: Any]])
      #expect(buckets.map { $0["tokens"] as? Int } == [63, 64, 22])
      let last = whole[127...].reduce(0, +) / 22
      #expect(abs((buckets[2]["nll"] as? Double ?? 0) - last) < 1e-5)
    }
    // Contexts of 60, 25 after each other: 0..<60, 25..<85, 50..<110, 75..<135, 90..<150.
    var parts = try scores(Array(tokens[0..<60]), from: 1)
    for (first, end, new) in [(25, 85, 25), (50, 110, 25), (75, 135, 25), (90, 150, 15)] {
      parts += try scores(Array(tokens[first..<end]), from: 60 - new)
    }
    let report = try json(
      try await gyre(
        [
          "perplexity", path, "--text", file, "--report", "json", "--context", "60", "--stride",
          "25",
        ], ranks: 2))
    #expect(report["countedTokens"] as? Int == 149)
    #expect(
      abs((report["nll"] as? Double ?? 0) - parts.reduce(0, +) / Double(parts.count)) < 1e-5)
  }

  @Test("text goes on as the oracle says, whatever the ranks and the pages of the cache")
  func generation() async throws {
    for model in [
      TinyModel(type: 3), TinyModel(architecture: "gemma3", layers: 6),
      TinyModel(architecture: "gpt-oss", expertType: 39),
    ] {
      let folder = try TemporaryFolder()
      let path = try model.write(to: folder)
      let oracle = try PlainDecoder(model, path: path)
      let prompt = "Once upon a time"
      var tokens = prompt.utf8.map(Int.init)
      for _ in 0..<12 {
        let row = try oracle.logits(tokens)[tokens.count - 1]
        tokens.append(row.indices.max { row[$0] < row[$1] } ?? 0)
        if tokens.last == 256 { break }
      }
      let arguments = [
        "generate", path, "--prompt", prompt, "--max-tokens", "12", "--report", "json",
      ]
      for ranks in [1, 2, 3, 5] {
        let report = try json(
          try await gyre(arguments + ["--page-tokens", ranks == 2 ? "16" : "256"], ranks: ranks))
        #expect(
          report["tokens"] as? [Int] == Array(tokens.dropFirst(prompt.utf8.count)),
          "\(model.architecture) on \(ranks) ranks")
      }
    }
  }

  @Test("a window with sinks is a cache of nothing else, read at once or grown")
  func streaming() async throws {
    // A prompt that all but fills the window, and one after which texts are shorter for a while.
    for (model, window, prompt) in [
      (TinyModel(), 20, "Once upon a time, long"),
      (TinyModel(architecture: "gemma3", layers: 6, window: 9), 14, "Once"),
    ] {
      let folder = try TemporaryFolder()
      let path = try model.write(to: folder)
      var oracle = try PlainDecoder(model, path: path)
      oracle.stream = (window, 3)
      let options = ["--window", "\(window)", "--sinks", "3"]
      let ids = Self.tokens.map(String.init).joined(separator: ",")
      let expected = try oracle.logits(Self.tokens)
      let largest = expected.flatMap { $0 }.map(abs).reduce(0, max)
      var tokens = prompt.utf8.map(Int.init)
      while tokens.count < prompt.utf8.count + 45, tokens.last != 256 {
        let row = try oracle.logits(tokens)[tokens.count - 1]
        tokens.append(row.indices.max { row[$0] < row[$1] } ?? 0)
      }
      for ranks in [1, 3] {
        let output = "\(folder.path)/logits-\(ranks).safetensors"
        let result = try await gyre(
          ["logits", path, "--ids", ids, "--chunk", "7", "--output", output] + options,
          ranks: ranks)
        try #require(result.isSuccess, "\(result)")
        let logits = try SafetensorsFile.open(output).source("logits").readAll()
        var error = 0.0
        for (token, row) in expected.enumerated() {
          for (column, value) in row.enumerated() {
            error = max(error, abs(value - Double(logits[token, column])))
          }
        }
        #expect(error < 2e-5 * largest, "\(model.architecture) on \(ranks): \(error / largest)")
        let report = try json(
          try await gyre(
            [
              "generate", path, "--prompt", prompt, "--max-tokens", "45", "--report", "json",
              "--page-tokens", "16",
            ] + options, ranks: ranks))
        #expect(
          report["tokens"] as? [Int] == Array(tokens.dropFirst(prompt.utf8.count)),
          "\(model.architecture) on \(ranks) ranks")
        // The window, a page that it leaves, one that is filled, and the sinks'; or all was kept.
        let page = model.layers * 16 * model.kvHeads * 2 * model.headDim * 4
        let cache = try #require(report["cacheBytes"] as? Int)
        #expect(cache <= (ranks == 1 ? 4 : 2) * page, "\(cache / page) pages")
      }
    }
  }

  @Test("context windows are read by themselves, and the task sees all")
  func windows() async throws {
    let texts = ["The sea was calm.", "It rained.", "Nobody had seen the ship since May."]
    let task = "So they waited"
    for isStructured in [false, true] {
      let model = TinyModel(architecture: isStructured ? "qwen2" : "llama")
      let folder = try TemporaryFolder()
      let path = try model.write(to: folder)
      var oracle = try PlainDecoder(model, path: path)
      oracle.windows = (texts.map(\.utf8.count), isStructured)
      let files = try texts.enumerated().map { try folder.file("\($0).txt", Array($1.utf8)) }
      let before = texts.flatMap { $0.utf8.map(Int.init) }
      let options =
        ["--window-files", files.joined(separator: ",")] + (isStructured ? ["--structured"] : [])
      var tokens = before + task.utf8.map(Int.init)
      let read = tokens.count
      let logits = try oracle.logits(tokens)
      let scores = (before.count + 1..<read).map { position in
        log(logits[position - 1].reduce(0) { $0 + exp($1) })
          - logits[position - 1][tokens[position]]
      }
      for _ in 0..<10 {
        let row = try oracle.logits(tokens)[tokens.count - 1]
        tokens.append(row.indices.max { row[$0] < row[$1] } ?? 0)
        if tokens.last == 256 { break }
      }
      let text = try folder.file("task.txt", Array(task.utf8))
      // As many windows as ranks, and fewer.
      for ranks in [1, 3, 5] {
        let report = try json(
          try await gyre(
            ["generate", path, "--prompt", task, "--max-tokens", "10", "--report", "json"]
              + options, ranks: ranks))
        #expect(
          report["tokens"] as? [Int] == Array(tokens[read...]),
          "structured \(isStructured), \(ranks) ranks")
        let perplexity = try json(
          try await gyre(
            ["perplexity", path, "--text", text, "--report", "json"] + options, ranks: ranks))
        let mean = scores.reduce(0, +) / Double(scores.count)
        #expect(abs((perplexity["nll"] as? Double ?? 0) - mean) < 1e-5, "\(ranks) ranks")
      }
    }
  }

  @Test("a cache of any type takes the bytes that were checked before")
  func cacheBytes() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel().write(to: folder)
    let prompt = String(repeating: "All the pages of a book. ", count: 8)
    for (type, ranks) in [("f32", 2), ("bf16", 3), ("int8", 1), ("kivi4", 2)] {
      let report = try json(
        try await gyre(
          [
            "generate", path, "--prompt", prompt, "--max-tokens", "90", "--page-tokens", "32",
            "--cache-type", type, "--chunk", "48", "--report", "json",
          ], ranks: ranks))
      let (bytes, needed) = (
        try #require(report["cacheBytes"] as? Int), try #require(report["cacheBytesNeeded"] as? Int)
      )
      #expect(bytes <= needed, "\(type)")
      // The formula has a page or two more than are used.
      let page = 3 * 32 * 2 * 2 * 16 * 4
      #expect(needed - bytes <= (type == "kivi4" ? 6 : 2) * page, "\(type): \(needed) of \(bytes)")
    }
  }

  @Test("schemes and contexts are compared on the same tokens")
  func schemes() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel(architecture: "qwen2").write(to: folder)
    let bytes = Array(String(repeating: "Some text of 25 letters, ", count: 6).utf8.prefix(120))
    let file = try folder.file("text.txt", bytes)
    func report(_ more: [String], ranks: Int) async throws -> [String: Any] {
      try json(
        try await gyre(
          ["perplexity", path, "--text", file, "--report", "json"] + more, ranks: ranks))
    }
    let table = try await report(
      [
        "--schemes", "none", "yarn:4,60", "window:20,4", "--contexts", "100,60", "--stride", "30",
      ], ranks: 2)
    #expect(table["benchmark"] as? String == "perplexity")
    let rows = try #require(table["results"] as? [[String: Any]])
    #expect(rows.map { $0["context"] as? Int } == [60, 100, 60, 100, 60, 100])
    #expect(rows.allSatisfy { $0["countedTokens"] as? Int == 30 })
    // A context of 60 whose last 30 tokens count, as the usual call has it.
    let end = try folder.file("end.txt", Array(bytes.suffix(60)))
    for (row, options) in [
      (0, ["--rope-scaling", "none"]), (2, ["--rope-scaling", "yarn:4,60"]),
      (4, ["--window", "20", "--sinks", "4"]),
    ] {
      let all = try json(
        try await gyre(
          ["perplexity", path, "--text", end, "--report", "json"] + options, ranks: 1))
      let first = try json(
        try await gyre(
          ["perplexity", path, "--text", end, "--report", "json", "--tokens", "30"] + options,
          ranks: 1))
      let sum = (all["nll"] as? Double ?? 0) * 59 - (first["nll"] as? Double ?? 0) * 29
      #expect(abs(sum / 30 - (rows[row]["nll"] as? Double ?? 0)) < 1e-5, "row \(row)")
    }
  }

  @Test("what is drawn goes by the seed, and a text ends where it is told to")
  func sampling() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel().write(to: folder)
    let arguments = [
      "generate", path, "--prompt", "abc", "--max-tokens", "20", "--report", "json",
    ]
    func tokens(_ more: [String], ranks: Int = 1) async throws -> [Int] {
      try json(try await gyre(arguments + more, ranks: ranks))["tokens"] as? [Int] ?? []
    }
    let drawn = ["--temperature", "1.5", "--top-p", "0.95", "--min-p", "0.001", "--seed"]
    let first = try await tokens(drawn + ["7"])
    #expect(try await tokens(drawn + ["7"], ranks: 3) == first)
    #expect(try await tokens(drawn + ["8"]) != first)
    let likely = try await tokens([])
    #expect(try await tokens(["--temperature", "3", "--top-k", "1"]) == likely)
  }

  @Test("what frequencies are divided by may be a tensor")
  func storedFrequencies() async throws {
    let folder = try TemporaryFolder()
    var stored = TinyModel()
    stored.extra = [("rope_freqs.weight", 8, 2)]
    let ids = Self.tokens.map(String.init).joined(separator: ",")
    var found: [[Float]] = []
    for (model, arguments) in [
      (stored, []), (TinyModel(), ["--rope-scaling", "linear:2"]), (TinyModel(), []),
    ] {
      let path = try model.write(to: folder)
      let output = folder.path + "/logits.safetensors"
      let result = try await gyre(
        ["logits", path, "--ids", ids, "--output", output] + arguments, ranks: 1)
      try #require(result.isSuccess, "\(result)")
      let logits = try SafetensorsFile.open(output).source("logits").readAll()
      let span = logits.span
      found.append(span.indices.map { span[$0] })
    }
    #expect(found[0] == found[1] && found[0] != found[2])
  }

  @Test("a model that does not fit is refused by name, on all ranks")
  func refusals() async throws {
    let folder = try TemporaryFolder()
    var model = TinyModel()
    model.without = ["blk.1.ffn_up.weight"]
    let missing = try model.write(to: folder, "missing.gguf")
    let unknown = try TinyModel(architecture: "jamba").write(to: folder, "unknown.gguf")
    let right = try TinyModel().write(to: folder)
    var more = TinyModel()
    more.extra = [("blk.0.ffn_gate.bias", 96, 1)]
    let extra = try more.write(to: folder, "extra.gguf")
    var capped = TinyModel()
    capped.numbers = [("final_logit_softcapping", 30)]
    let cap = try capped.write(to: folder, "cap.gguf")
    let output = ["--output", folder.path + "/l.safetensors"]
    for (arguments, words) in [
      (["logits", missing, "--ids", "1"] + output, "blk.1.ffn_up.weight"),
      (["logits", unknown, "--ids", "1"] + output, "jamba"),
      (["logits", extra, "--ids", "1"] + output, "blk.0.ffn_gate.bias"),
      (["logits", cap, "--ids", "1"] + output, "final_logit_softcapping"),
      (["logits", right, "--ids", "1,257"] + output, "257"),
      (["logits", folder.path + "/none.gguf", "--ids", "1"] + output, "none.gguf"),
      (["generate", right, "--prompt", ""], "empty"),
    ] {
      let result = try await gyre(arguments, ranks: 2)
      #expect(!result.isSuccess && result.standardError.contains(words), "\(result)")
      #expect(
        result.standardError.split(separator: "\n").filter { $0.hasPrefix("gyre:") }.count == 1)
    }
    #expect(!folder.names.contains("l.safetensors"))
  }
}
