import Attention
import Foundation
import Models
import SequenceParallel
import Sharding
import Tensors
import TestSupport
import Testing

/// Prompts that are read in pieces, and what follows in a conversation, against one pass of the
/// oracle.
@Suite("Pieces of a prompt")
struct PieceTests {
  private func reported(_ arguments: [String], ranks: Int) async throws -> [String: Any] {
    try json(try await gyre(arguments, ranks: ranks))
  }

  private static let text = Array(
    String(repeating: "A text of some length, which nobody has learned to foretell. ", count: 4)
      .utf8)

  /// Pieces of whole pages of all ranks: of 1, 2, 3 and 5 ranks at least two pieces, and with the
  /// window some that see two before them.
  @Test(
    "perplexity in pieces is that of one pass",
    arguments: [
      (TinyModel(), nil, 1), (TinyModel(type: 3), nil, 2), (TinyModel(), (40, 0), 2),
      (TinyModel(architecture: "gemma3", layers: 6, window: 9), (75, 3), 3),
      (TinyModel(architecture: "qwen2"), (20, 21), 5),
    ] as [(TinyModel, (Int, Int)?, Int)])
  func perplexity(_ model: TinyModel, _ window: (Int, Int)?, _ ranks: Int) async throws {
    let folder = try TemporaryFolder()
    let path = try model.write(to: folder)
    let bytes = Array(Self.text.prefix(ranks == 5 ? 200 : 150))
    let file = try folder.file("text.txt", bytes)
    var oracle = try PlainDecoder(model, path: path)
    if let window { oracle.stream = window }
    let logits = try oracle.logits(bytes.map(Int.init))
    let scores = (1..<bytes.count).map { position -> Double in
      let row: [Double] = logits[position - 1]
      let sum = row.reduce(0.0) { $0 + exp($1) }
      return log(sum) - row[Int(bytes[position])]
    }
    let mean = scores.reduce(0, +) / Double(scores.count)
    let options =
      window.map { ["--window", "\($0.0)"] + ($0.1 > 0 ? ["--sinks", "\($0.1)"] : []) } ?? []
    let report = try await reported(
      [
        "perplexity", path, "--text", file, "--report", "json", "--page-tokens", "16", "--piece",
        "1", "--chunk", "7", "--transport", ranks == 3 ? "query" : "ring",
      ] + options, ranks: ranks)
    let found = try #require(report["nll"] as? Double)
    #expect(abs(found - mean) < 1e-5, "\(found), \(mean)")
  }

  @Test("text goes on after pieces under a window as after one pass, in the memory of a window")
  func generation() async throws {
    let model = TinyModel()
    let folder = try TemporaryFolder()
    let path = try model.write(to: folder)
    var oracle = try PlainDecoder(model, path: path)
    oracle.stream = (30, 3)
    let bytes = Array(Self.text.prefix(150))
    var tokens = bytes.map(Int.init)
    for _ in 0..<8 where tokens.last != 256 {
      let row = try oracle.logits(tokens)[tokens.count - 1]
      tokens.append(row.indices.max { row[$0] < row[$1] } ?? 0)
    }
    let prompt = String(decoding: bytes, as: UTF8.self)
    var peaks: [Int] = []
    for repeats in [1, 3] {
      let report = try await reported(
        [
          "generate", path, "--prompt", String(repeating: prompt, count: repeats), "--max-tokens",
          "8", "--page-tokens", "16", "--piece", "1", "--window", "30", "--sinks", "3", "--report",
          "json",
        ], ranks: 2)
      if repeats == 1 { #expect(report["tokens"] as? [Int] == Array(tokens.dropFirst(150))) }
      let bytes = try #require(report["cacheBytes"] as? Int)
      #expect(report["cacheBytesNeeded"] as? Int == bytes)
      peaks.append(try #require(report["ownBytesNeeded"] as? Int))
    }
    #expect(peaks[0] == peaks[1])
  }

  @Test("a message that ranks read together is answered as one that each reads")
  func conversation() async throws {
    for (architecture, others) in [("llama", [2, 3]), ("mamba", [2])] {
      let folder = try TemporaryFolder()
      let type: UInt32 = architecture == "mamba" ? 8 : 0
      let path = try TinyModel(architecture: architecture, type: type, chats: true).write(
        to: folder)
      // Of 200 tokens, more than 64 of each rank, and a short one.
      let messages = [
        "Begin.", String(decoding: Self.text.prefix(200), as: UTF8.self), "And then?",
      ]
      var answers: [String] = []
      for ranks in [1] + others {
        let result = try await MPIJob.run(
          program: "gyre",
          arguments: [
            "generate", path, "--chat", "--max-tokens", "12", "--page-tokens", "32", "--chunk",
            "20",
          ], ranks: ranks, standardInput: messages.joined(separator: "\n") + "\n")
        try #require(result.isSuccess, "\(result)")
        answers.append(result.standardOutput)
      }
      #expect(answers[0].count > 20)
      #expect(Set(answers).count == 1, "\(answers)")
    }
  }

  /// Records of `queryHeads · (headDim + 2)` numbers: a round for each bit of the largest power of
  /// two of ranks, and both ways for each rank beyond.
  @Test("tokens that are written send what the formula says", arguments: [(2, 2), (4, 8), (5, 10)])
  func bytesOfDecoding(ranks: Int, messages: Int) async throws {
    let model = TinyModel()
    let folder = try TemporaryFolder()
    let path = try model.write(to: folder)
    let report = try await reported(
      [
        "generate", path, "--prompt", "Once upon a time", "--max-tokens", "9", "--report", "json",
        "--weights", "replicated", "--temperature", "2", "--seed", "3",
      ], ranks: ranks)
    let written = try #require(report["generatedTokens"] as? Int)
    #expect(written > 2)
    let record = model.heads * (model.headDim + 2) * 4
    // The first comes with the prompt.
    #expect(
      report["mergingBytesSent"] as? Int == (written - 1) * model.layers * messages * record)
  }

  @Test("where memory would not suffice, a prompt is read in pieces, or its queries in chunks")
  func fitting() throws {
    let folder = try TemporaryFolder()
    let decoder = try Decoder(try ModelFile(try TinyModel().write(to: folder)))
    var options = RunOptions()
    options.chunk = 64
    for keepsKeys in [true, false] {
      func need(_ options: RunOptions) -> Int {
        (0..<3).map {
          let memory = RunMemory(
            decoder, prompt: 100_000, context: keepsKeys ? 100_010 : nil, options: options,
            topology: Topology(ranks: 3, ranksPerNode: 3), rank: $0)
          return memory.attention
        }.max() ?? 0
      }
      let most = need(options)
      let same = options.fitted(keepsKeys: keepsKeys, ranks: 3) { need($0) <= most }
      #expect(same.piece == nil && !same.chunksQueries)
      let less = options.fitted(keepsKeys: keepsKeys, ranks: 3) { need($0) < most }
      #expect(less.piece == (keepsKeys ? 3 * 4 * 64 : nil) && less.chunksQueries != keepsKeys)
      #expect(need(less) < most * 3 / 4, "\(need(less)) of \(most)")
      options.piece = 4096
      let given = options.fitted(keepsKeys: keepsKeys, ranks: 3) { _ in false }
      #expect(given.piece == 4096 && given.chunksQueries)
      options.piece = nil
    }
  }

  @Test("a rank's memory grows with the tokens as the formula says")
  func memory() async throws {
    let folder = try TemporaryFolder()
    let path = try TinyModel(layers: 1, width: 128, hidden: 64).write(to: folder)
    let letters = (0..<12_000).map { (place: Int) -> UInt8 in
      UInt8(97 + (place * 7 + place / 13) % 26)
    }
    let file = try folder.file("text.txt", letters)
    for options: [String] in [[], ["--chunk-queries"]] {
      var (peaks, needs): ([Int], [Int]) = ([], [])
      for tokens in [2_000, 12_000] {
        let report = try await reported(
          [
            "perplexity", path, "--text", file, "--tokens", "\(tokens)", "--transport", "ring",
            "--chunk", "64", "--report", "json",
          ] + options, ranks: 2)
        peaks.append(try #require(report["peakResidentBytes"] as? Int))
        needs.append(try #require(report["ownBytesNeeded"] as? Int))
      }
      let (grown, reckoned) = (peaks[1] - peaks[0], needs[1] - needs[0])
      // Beside it 8 bytes for each token's number and score, and the text.
      #expect(
        grown < reckoned + 3 << 20 && grown > reckoned * 2 / 3,
        "\(options): \(grown) of \(reckoned)")
    }
  }
}
